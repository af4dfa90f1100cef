"""What is wrong with ``LAYERCACHE["MODELS"]``."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.db.models import Model

from django_layercache.checks_of_values import check_timeout, did_you_mean, no_dictionary, one_of
from django_layercache.querysets.operations import OPERATIONS

__all__ = ["check_models", "check_name"]


def check_models(value: Any) -> Iterator[CheckMessage]:
    """Names of models, each with a dictionary of options, or ``False``."""
    if not isinstance(value, Mapping):
        hint = "Write {'blog.post': {'timeout': 60}, 'shop.*': {}, 'sessions.session': False}."
        yield no_dictionary(value, "LAYERCACHE['MODELS']", hint, "layercache.E006")
        return
    for name, options in value.items():
        yield from check_name(name, "MODELS")
        yield from _options(name, options)


def check_name(name: Any, setting: str) -> Iterator[CheckMessage]:
    """The *name* of a model, or of an app's models, in *setting*."""
    labels = {model._meta.label_lower for model in apps.get_models(include_auto_created=True)}
    labels |= {f"{config.label}.*" for config in apps.get_app_configs()} | {"*"}
    if str(name).lower() not in labels:
        yield Error(
            f"LAYERCACHE[{setting!r}] names {name!r}, and there is no such model.",
            hint=did_you_mean(str(name).lower(), labels)
            if difflib.get_close_matches(str(name).lower(), labels)
            else "Write '<app label>.<model>', '<app label>.*', or '*' for all.",
            id="layercache.E007",
        )


def _options(name: Any, options: Any) -> Iterator[CheckMessage]:
    where = f"LAYERCACHE['MODELS'][{name!r}]"
    if options is False:
        return
    if not isinstance(options, Mapping):
        yield Error(
            f"{where} is {options!r}.",
            hint="It is a dictionary of options, or False: never cached.",
            id="layercache.E006",
        )
        return
    for option, value in options.items():
        check = _CHECKS.get(option)
        if check is None:
            yield Error(
                f"{where} has an option {option!r}.",
                hint=did_you_mean(str(option), _CHECKS),
                id="layercache.E006",
            )
        else:
            yield from check(value, f"{where}[{option!r}]", _models_called(name))


def _models_called(name: Any) -> list[type[Model]]:
    return [model for model in apps.get_models() if model._meta.label_lower == str(name).lower()]


def _switch(value: Any, where: str, _models: list[type[Model]]) -> Iterator[CheckMessage]:
    if not isinstance(value, bool):
        yield Error(f"{where} is {value!r}.", hint="It is True or False.", id="layercache.E006")


def _timeout(value: Any, where: str, _models: list[type[Model]]) -> Iterator[CheckMessage]:
    yield from check_timeout(value, where)


def _limit(value: Any, where: str, _models: list[type[Model]]) -> Iterator[CheckMessage]:
    is_limit = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is not None and not is_limit:
        yield Error(
            f"{where} is {value!r}.",
            hint="It is a whole number, 0 or more, or None for no limit.",
            id="layercache.E004",
        )


def _operations(value: Any, where: str, _models: list[type[Model]]) -> Iterator[CheckMessage]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        yield Error(
            f"{where} is {value!r}.",
            hint=f"It is a set or a list, of which each is {one_of(OPERATIONS)}.",
            id="layercache.E006",
        )
        return
    for word in value:
        if not isinstance(word, str) or word not in OPERATIONS:
            yield Error(
                f"{where} names {word!r}.",
                hint=did_you_mean(str(word), OPERATIONS),
                id="layercache.E005",
            )


def _partitions(fields: Any, where: str, models: list[type[Model]]) -> Iterator[CheckMessage]:
    if not models:
        hint = "Partitions are declared for one model, by its name."
    elif not isinstance(fields, (list, tuple)):
        hint = "It is a list of names of the model's own fields."
    else:
        own = [field for model in models for field in model._meta.local_concrete_fields]
        names = {name for field in own for name in (field.name, field.attname)}
        wrong = [field for field in fields if field not in names]
        if not wrong:
            return
        hint = did_you_mean(str(wrong[0]), names)
    yield Error(f"{where} is {fields!r}.", hint=hint, id="layercache.E011")


_CHECKS: Mapping[Any, Callable[[Any, str, list[type[Model]]], Iterator[CheckMessage]]] = {
    "cached": _switch,
    "compare": _switch,
    "max_bytes": _limit,
    "max_rows": _limit,
    "operations": _operations,
    "partition_by": _partitions,
    "timeout": _timeout,
}
