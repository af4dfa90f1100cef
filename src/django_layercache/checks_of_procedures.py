"""What is wrong with ``LAYERCACHE["PROCEDURES"]``."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error

from django_layercache.checks_of_values import did_you_mean
from django_layercache.querysets.procedures import tables_of

__all__ = ["check_procedures"]


def check_procedures(value: Any) -> Iterator[CheckMessage]:
    """Names of procedures, each with a list of models."""
    if not isinstance(value, Mapping):
        yield _error("", value, "Write {'refresh_totals': ['shop.total'], 'log_visit': []}.")
        return
    for name, things in value.items():
        where = f"[{name!r}]"
        if not isinstance(things, (list, tuple, set, frozenset)):
            yield _error(
                where, things, "It is a list of the models that the procedure changes; [] for none."
            )
            continue
        for thing in things:
            if tables_of(thing) is None:
                yield _error(where, things, _hint(thing))


def _hint(thing: Any) -> str:
    models = {model._meta.label_lower for model in apps.get_models(include_auto_created=True)}
    return (
        f"{thing!r} is neither a model nor the table of one. "
        + did_you_mean(str(thing).lower(), models)[:300]
    )


def _error(where: str, value: Any, hint: str) -> CheckMessage:
    return Error(f"LAYERCACHE['PROCEDURES']{where} is {value!r}.", hint=hint, id="layercache.E013")
