"""What stored procedures and functions read and change: what ``PROCEDURES`` says of them, else anything."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps

from django_layercache import conf
from django_layercache.querysets import policies
from django_layercache.querysets.effects import Effect
from django_layercache.querysets.sqlfunctions import spelt
from django_layercache.tags import table_name

__all__ = ["OPTIONS", "as_declared", "changed_by", "tables_of"]

OPTIONS = frozenset({"changes", "reads"})


def as_declared(effect: Effect) -> Effect:
    """*effect*, if all that it calls is declared; else it stays one of which nobody knows."""
    if not effect.calls:
        return effect
    declared = [_declared(call) for call in effect.calls]
    changed, read = set(effect.own_writes), effect.own_reads
    for one in declared:
        if one is None:
            return effect
        changed |= one.changes
        read = None if read is None or one.reads is None else read | one.reads
    # It may delete, too, and the database may then cascade.
    return replace(effect, reads=read, writes=frozenset(changed), deletes=frozenset(changed))


@dataclass(frozen=True, slots=True)
class _Declared:
    """The tables that a procedure changes, and all that its result depends on; ``None`` if nobody knows."""

    changes: frozenset[str]
    reads: frozenset[str] | None


def changed_by(function: str) -> frozenset[str] | None:
    """The tables that *function* is declared to change; ``None`` if nothing is said of it."""
    declared = _declared(function)
    return None if declared is None else declared.changes


def _declared(call: str) -> _Declared | None:
    settings = conf.get("PROCEDURES")
    if not isinstance(settings, Mapping):
        return None
    by_name = {spelt(str(name)): value for name, value in settings.items()}
    said = by_name.get(call, by_name.get(call.rpartition(".")[2]))
    if not isinstance(said, Mapping):
        said = {"changes": said}
    changes = _tables(said.get("changes", ()))
    if changes is None or not said.keys() <= OPTIONS:
        return None
    return _Declared(changes, _tables(said.get("reads")))


def _tables(things: Any) -> frozenset[str] | None:
    if not isinstance(things, (list, tuple, set, frozenset)):
        return None
    found = [tables_of(thing) for thing in things]
    if None in found:
        return None
    return frozenset(table for tables in found if tables for table in tables)


def tables_of(thing: Any) -> set[str] | None:
    """The tables of the model that *thing* names, or *thing*, if it is a model's table; else ``None``."""
    for model in apps.get_models(include_auto_created=True):
        if model._meta.label_lower == str(thing).lower():
            concrete = model._meta.concrete_model or model
            lineage = (concrete, *concrete._meta.all_parents)
            return {table_name(one._meta.db_table) for one in lineage}
    table = table_name(str(thing))
    return {table} if policies.are_models({table}) else None
