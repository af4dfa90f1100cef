"""What the models say of their tables: the columns, and those by which the rows are told apart."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.apps import apps
from django.db.models import Field, Model

from django_layercache import conf
from django_layercache.tags import table_name

__all__ = [
    "Models",
    "Registry",
    "Table",
    "name_for",
    "of_all_models",
    "of_models_setting",
    "registry",
    "table_of",
]

S = TypeVar("S")
T = TypeVar("T")
Models = list[type[Model]]

#: So many foreign keys and unique columns make partitions by themselves: each costs a tag per write.
MOST_PARTITIONS = 6

_PLAIN_NAME = re.compile(r"[^\"`\[\]]+")


@dataclass(frozen=True, slots=True)
class Table:
    """``columns`` are those beside the primary key, as they stand in tags; ``None`` if nobody knows them.

    ``generated`` are those that the database computes from others; ``partitions`` the fields whose
    values have tags of their own; in the columns of one of ``keys`` no two rows are equal. ``models``
    are those whose rows are in it, but for proxies.
    """

    columns: frozenset[str] | None = None
    generated: frozenset[str] = frozenset()
    partitions: tuple["Field[Any, Any]", ...] = ()
    keys: tuple[frozenset[str], ...] = ()
    models: tuple[type[Model], ...] = ()


_UNKNOWN = Table()


def table_of(name: str) -> Table:
    """What is known of the table *name*, spelt as in a model's ``Meta`` or as in tags."""
    return registry().table(table_name(name))


def _described(models: list[type[Model]], said: Mapping[str, Any]) -> Table:
    """The table of *models*: several may have the same."""
    fields = [field for model in models for field in model._meta.local_concrete_fields]
    keys = {field.column for model in models for field in model._meta.pk_fields}
    names = [str(field.column) for field in fields]
    is_plain = all(_PLAIN_NAME.fullmatch(name) for name in names)
    generated = {table_name(field.column) for field in fields if field.generated}
    return Table(
        frozenset(table_name(name) for name in names if name not in keys) if is_plain else None,
        frozenset(generated),
        _partitions(models[0], said.get(name_for(models[0], said))) if len(models) == 1 else (),
        tuple(key for model in models for key in _keys(model)),
        tuple(models),
    )


def _keys(model: type[Model]) -> Iterator[frozenset[str]]:
    """The primary key, and unique columns without NULL."""
    yield frozenset(str(field.column) for field in model._meta.pk_fields)
    for field in model._meta.local_concrete_fields:
        if field.unique and not field.null and not field.primary_key:
            yield frozenset({str(field.column)})


def _partitions(model: type[Model], setting: Any) -> tuple["Field[Any, Any]", ...]:
    """The foreign keys and unique columns, if they are few, and what the settings declare."""
    fields = model._meta.local_concrete_fields
    declared = set(setting.get("partition_by", ())) if isinstance(setting, Mapping) else set()
    telling = {
        field
        for field in fields
        if (field.remote_field or field.unique)
        and not field.primary_key
        and table_name(field.column) != "pk"  # as rows are called
    }
    if len(telling) > MOST_PARTITIONS:
        telling = set()
    return tuple(
        field for field in fields if field in telling or {field.name, field.attname} & declared
    )


def name_for(model: type[Model], said: Mapping[str, Any]) -> str:
    """Under which name ``MODELS``, in lower case, speaks of *model*: its own, else its app's, else ``*``."""
    meta = model._meta
    wanted = (meta.label_lower, f"{meta.app_label}.*")
    return next((name for name in wanted if name in said), "*")


class Registry:
    """The tables of the models that there are, under ``MODELS`` of the settings."""

    def __init__(self, models: Models, settings: Mapping[str, Any]) -> None:
        said = {str(name).lower(): value for name, value in settings.items()}
        of_tables: dict[str, list[type[Model]]] = {}
        for model in models:
            if not model._meta.proxy:
                of_tables.setdefault(table_name(model._meta.db_table), []).append(model)
        self._tables = {name: _described(them, said) for name, them in of_tables.items()}

    def table(self, name: str) -> Table:
        """The table *name*, spelt as in tags."""
        return self._tables.get(name, _UNKNOWN)


def of_all_models(setting: Callable[[], S], make: Callable[[Models, S], T]) -> Callable[[], T]:
    """What *make* makes of all models and of *setting*; anew when one of the two is another."""
    latest: tuple[Models, S, T] | None = None

    def get() -> T:
        nonlocal latest
        models = apps.get_models(include_auto_created=True)  # the same list, until they change
        said, found = setting(), latest
        if found is None or found[0] is not models or found[1] is not said:
            found = latest = models, said, make(models, said)
        return found[2]

    return get


def of_models_setting() -> Mapping[str, Any]:
    """``MODELS``."""
    return conf.mapping("MODELS")


registry = of_all_models(of_models_setting, Registry)
