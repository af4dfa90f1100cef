"""What is wrong with ``LAYERCACHE["TENANT"]`` and ``["TENANT_MODELS"]``, or missing."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string

from django_layercache import conf
from django_layercache.checks_of_models import check_name

__all__ = ["check_tenants"]

#: Backends that choose the schema of a tenant beside Django's cursors.
_SWITCHING = ("django_tenants.", "tenant_schemas.")


def check_tenants() -> Iterator[CheckMessage]:
    """A callable, and names of models."""
    tenant, names = conf.get("TENANT"), conf.get("TENANT_MODELS")
    why = _wrong_callable(tenant)
    if why is not None:
        yield Error(
            f"LAYERCACHE['TENANT'] is {tenant!r}.",
            hint=f"{why} Name a callable without arguments that returns the tenant, or None.",
            id="layercache.E015",
        )
    if not isinstance(names, (list, tuple)):
        yield Error(
            f"LAYERCACHE['TENANT_MODELS'] is {names!r}.",
            hint="It is a list of names of models: ['blog.post', 'shop.*'].",
            id="layercache.E015",
        )
    else:
        for name in names:
            yield from check_name(name, "TENANT_MODELS")
    if tenant is None:
        yield from _missing(names)


def _wrong_callable(tenant: Any) -> str | None:
    if tenant is None:
        return None
    try:
        found = tenant if callable(tenant) else import_string(tenant)
    except (ImportError, AttributeError, TypeError) as error:
        return f"It cannot be imported: {error}."
    if not callable(found):
        return "It cannot be called."
    return None if _takes_nothing(found) else "It cannot be called without arguments."


def _takes_nothing(found: Callable[..., Any]) -> bool:
    try:
        inspect.signature(found).bind()
    except TypeError:
        return False
    except ValueError:  # it has none that could be read
        return True
    return True


def _missing(names: Any) -> Iterator[CheckMessage]:
    if names:
        yield Error(
            "LAYERCACHE has 'TENANT_MODELS', and no 'TENANT': tenants would be shown each other's entries.",
            hint="Name a callable that returns the present tenant in 'TENANT', or leave both away.",
            id="layercache.E016",
        )
    for alias, database in settings.DATABASES.items():
        engine = str(database.get("ENGINE", ""))
        if engine.startswith(_SWITCHING):
            yield Error(
                f"DATABASES[{alias!r}] has the engine {engine}, and LAYERCACHE has no 'TENANT': "
                "tenants would be shown each other's entries.",
                hint="Name a callable that returns the schema of the tenant.",
                id="layercache.E016",
            )
