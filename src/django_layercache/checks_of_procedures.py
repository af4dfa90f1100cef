"""What is wrong with ``LAYERCACHE["PROCEDURES"]``."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error

from django_layercache.checks_of_values import did_you_mean
from django_layercache.querysets.procedures import OPTIONS, tables_of

__all__ = ["check_procedures"]


def check_procedures(value: Any) -> Iterator[CheckMessage]:
    """Names of procedures, each with a list of models, or two of them."""
    if not isinstance(value, Mapping):
        yield _error("", value, "Write {'refresh_totals': ['shop.total'], 'log_visit': []}.")
        return
    for name, said in value.items():
        where = f"[{name!r}]"
        options = said if isinstance(said, Mapping) else {"changes": said}
        if not options.keys() <= OPTIONS:
            yield _error(where, said, "It has at most 'changes' and 'reads' in it.")
            continue
        for things in options.values():
            why = _wrong(things)
            if why is not None:
                yield _error(where, said, why)


def _wrong(things: Any) -> str | None:
    if not isinstance(things, (list, tuple, set, frozenset)):
        return "What a procedure changes, or reads, is a list of models; [] for none."
    return next((_hint(thing) for thing in things if tables_of(thing) is None), None)


def _hint(thing: Any) -> str:
    models = {model._meta.label_lower for model in apps.get_models(include_auto_created=True)}
    return (
        f"{thing!r} is neither a model nor the table of one. "
        + did_you_mean(str(thing).lower(), models)[:300]
    )


def _error(where: str, value: Any, hint: str) -> CheckMessage:
    return Error(f"LAYERCACHE['PROCEDURES']{where} is {value!r}.", hint=hint, id="layercache.E013")
