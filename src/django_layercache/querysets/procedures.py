"""What stored procedures and functions change: what ``PROCEDURES`` says of them, else anything."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.apps import apps

from django_layercache import conf
from django_layercache.querysets import policies
from django_layercache.querysets.effects import Effect
from django_layercache.querysets.sqlfunctions import spelt
from django_layercache.tags import table_name

__all__ = ["as_declared", "tables_of"]


def as_declared(effect: Effect) -> Effect:
    """*effect*, if all that it calls is declared; else it stays one of which nobody knows."""
    declared = conf.get("PROCEDURES")
    if not effect.calls or not isinstance(declared, Mapping):
        return effect
    by_name = {spelt(str(name)): value for name, value in declared.items()}
    changed: set[str] = set(effect.besides)
    for call in effect.calls:
        tables = _tables(by_name.get(call, by_name.get(call.rpartition(".")[2])))
        if tables is None:
            return effect
        changed |= tables
    # It may delete, too, and the database may then cascade.
    return replace(effect, writes=frozenset(changed), deletes=frozenset(changed))


def _tables(declared: Any) -> set[str] | None:
    if not isinstance(declared, (list, tuple, set, frozenset)):
        return None
    found = [tables_of(thing) for thing in declared]
    return None if None in found else {table for tables in found if tables for table in tables}


def tables_of(thing: Any) -> set[str] | None:
    """The tables of the model that *thing* names, or *thing*, if it is a model's table; else ``None``."""
    for model in apps.get_models(include_auto_created=True):
        if model._meta.label_lower == str(thing).lower():
            concrete = model._meta.concrete_model or model
            lineage = (concrete, *concrete._meta.all_parents)
            return {table_name(one._meta.db_table) for one in lineage}
    table = table_name(str(thing))
    return {table} if policies.are_models({table}) else None
