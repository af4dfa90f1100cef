"""What is wrong with ``LAYERCACHE["DATABASES"]``."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.db import connections

from django_layercache.checks_of_values import is_number, no_dictionary

__all__ = ["check_databases"]

_OPTIONS = frozenset({"identity", "max_lag", "replica_of", "serializable_hits"})


def check_databases(value: Any) -> Iterator[CheckMessage]:
    """Aliases of databases, each with a dictionary of options."""
    if not isinstance(value, Mapping):
        hint = "Write {'replica': {'replica_of': 'default'}}."
        yield no_dictionary(value, "LAYERCACHE['DATABASES']", hint, "layercache.E012")
        return
    for alias, options in value.items():
        why = _wrong(value, alias, options)
        if why is not None:
            yield Error(
                f"LAYERCACHE['DATABASES'][{alias!r}] is {options!r}.",
                hint=why,
                id="layercache.E012",
            )


def _wrong(declared: Mapping[Any, Any], alias: Any, options: Any) -> str | None:
    if alias not in settings.DATABASES:
        return f"There is no {alias!r} in DATABASES."
    if not isinstance(options, Mapping) or not options.keys() <= _OPTIONS:
        return f"It is a dictionary with at most {', '.join(map(repr, sorted(_OPTIONS)))} in it."
    if not isinstance(options.get("identity", ""), str):
        return "Its identity is a string."
    if not isinstance(options.get("serializable_hits", False), bool):
        return "Its 'serializable_hits' is True or False."
    if options.get("replica_of") is None:
        return "What is no replica does not lag." if "max_lag" in options else None
    return _wrong_replica(declared, alias, options["replica_of"], options.get("max_lag"))


def _wrong_replica(declared: Mapping[Any, Any], alias: Any, primary: Any, lag: Any) -> str | None:
    if primary == alias or primary not in settings.DATABASES:
        return "It is a replica of another alias in DATABASES."
    of_primary = declared.get(primary)
    if isinstance(of_primary, Mapping) and of_primary.get("replica_of") is not None:
        return "It is a replica of one that is a replica itself: name the primary."
    if lag is not None:
        right = is_number(lag) and lag >= 0
        return None if right else "Its 'max_lag' is a number of seconds, 0 or more."
    if connections[alias].vendor == connections[primary].vendor == "postgresql":
        return None
    return "It cannot be asked how far it is: say by how many seconds it lags at most, 'max_lag'."
