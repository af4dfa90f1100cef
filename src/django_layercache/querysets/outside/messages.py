"""What a notification says, as tags."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache.querysets import policies
from django_layercache.querysets.bindings import partition_keys
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.tables import table_of
from django_layercache.querysets.writes import tags_of_rows
from django_layercache.tags import table_name

__all__ = ["tags_of_message", "tags_of_tables"]


def tags_of_message(message: str, connection: BaseDatabaseWrapper) -> set[str]:
    """What a notification of :mod:`~django_layercache.querysets.outside.triggers` changes.

    Raises :exc:`ValueError` if it is none.
    """
    try:
        told = json.loads(message)
        tables, columns = map(str, told["tables"]), dict(told["columns"])
        return {tag for table in _read(tables) for tag in _changed(table, columns, connection)}
    except Exception as error:  # anybody who may connect may have sent it
        raise ValueError(str(error)) from error


def tags_of_tables(tables: Iterable[str], connection: BaseDatabaseWrapper) -> set[str]:
    """What a change of unknown rows of *tables* changes."""
    return {tag for table in _read(tables) for tag in _changed(table, {}, connection)}


def _read(tables: Iterable[str]) -> Iterator[str]:
    """Those of *tables* that something cached may have been read from: the models'."""
    return (table for table in tables if policies.are_models({table_name(table)}))


def _changed(
    table: str, columns: Mapping[str, Any], connection: BaseDatabaseWrapper
) -> Iterator[str]:
    known = {}
    for field in table_of(table).partitions:
        keys = _keys(field, columns, connection)
        if keys is not None:
            known[str(field.column)] = keys
    rows = _rows(table, columns, connection)
    return tags_of_rows(state_of(connection).database, table, rows, known)


def _rows(
    table: str, columns: Mapping[str, Any], connection: BaseDatabaseWrapper
) -> set[str] | None:
    """The rows by their keys; ``None`` if they cannot be told for one of the models of *table*."""
    spelt = [_keys(model._meta.pk, columns, connection) for model in table_of(table).models]
    if not spelt or None in spelt:
        return None
    return {key for keys in spelt if keys for key in keys}


def _keys(
    field: Any, columns: Mapping[str, Any], connection: BaseDatabaseWrapper
) -> set[str] | None:
    values = columns.get(field.column)
    if not isinstance(values, list):
        return None
    return partition_keys(field, [field.to_python(value) for value in values], connection)
