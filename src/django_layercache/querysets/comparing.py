"""What an UPDATE of known rows really changes: they are read first, under the lock that it takes anyway.

``save()`` sets every column, and most of them to what they were. A look at the row tells which ones it
changes, and which partitions the row is in.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import JSONField
from django.db.models.sql.compiler import SQLUpdateCompiler

from django_layercache.querysets import policies
from django_layercache.querysets.bindings import (
    bindings_of,
    bound_to,
    partition_keys,
    row_key,
    target_of,
)
from django_layercache.querysets.rowcounts import RowCount
from django_layercache.querysets.tables import table_of
from django_layercache.tags import table_name

__all__ = ["Before", "Difference", "look", "to_look_at"]

#: An UPDATE of more rows than this is not compared.
MOST_ROWS = 20

#: The lock of an UPDATE that leaves the keys alone, and what says so.
_LOCKS = {"postgresql": " FOR NO KEY UPDATE", "sqlite": ""}

#: What tells two values of a type apart. (0.0 equals -0.0, and 1.5 equals 1.50.)
_SPELLINGS: dict[type, Callable[[Any], Any]] = {
    bool: bool, bytes: bytes, date: date.toordinal, Decimal: Decimal.as_tuple, float: repr, int: int, UUID: str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """What an UPDATE has changed: the *columns* of *rows*.

    *partitions* are by column those that the rows are and were in, where that is known; *kept* says that
    other rows were written as they were.
    """

    rows: frozenset[str]
    columns: frozenset[str]
    partitions: Mapping[str, frozenset[str]]
    kept: bool


@dataclass(frozen=True, slots=True)
class Before:
    """The rows to which an UPDATE is bound, by their keys, as they are before it.

    ``new`` are the columns' values after it, where they are no expressions.
    """

    rows: Mapping[str, Mapping[Any, Any]]
    new: Mapping[Any, Any]
    expressions: frozenset[Any]
    is_complete: bool
    connection: BaseDatabaseWrapper
    table: str

    def difference(self, count: RowCount) -> Difference | None:
        """What is different after the UPDATE, which touched *count* rows.

        ``None`` if it may have touched one that was not there yet.
        """
        if not self.is_complete and not (count.is_certain and count.rows <= len(self.rows)):
            return None
        changed = {key: found for key, row in self.rows.items() if (found := self._changed(row))}
        columns = {table_name(field.column) for found in changed.values() for field in found}
        known = table_of(self.table)
        return Difference(
            frozenset(changed),
            frozenset(columns | known.generated if columns else columns),
            {
                str(field.column): keys
                for field in known.partitions
                if (keys := self._partitions(field, changed)) is not None
            },
            kept=len(changed) < len(self.rows),
        )

    def _changed(self, row: Mapping[Any, Any]) -> set[Any]:
        found = {field for field, new in self.new.items() if not _is_same(field, row[field], new)}
        return found | self.expressions

    def _partitions(self, field: Any, changed: Mapping[str, Any]) -> frozenset[str] | None:
        """Those of *field* in which the rows are and were; ``None`` if one cannot be told."""
        if field in self.expressions:
            return None
        values = [self.rows[key][field] for key in changed]
        if field in self.new:
            values.append(self.new[field])
        keys = partition_keys(field, values, self.connection)
        return None if keys is None else frozenset(keys)


def to_look_at(compiler: SQLUpdateCompiler) -> tuple[Any, ...]:
    """The primary keys of the rows to read before the UPDATE of *compiler*; none if it is not worth it.

    It is if a few rows get values, which may be those that they have.
    """
    query: Any = compiler.query
    meta, values = query.get_meta(), query.values
    is_apt = (
        compiler.connection.vendor in _LOCKS
        and not compiler.connection.needs_rollback
        and not policies.may_be_view(meta.db_table)
        and meta.concrete_model in table_of(meta.db_table).models  # not one of a migration
        and policies.compares(query.model)
        and any(not hasattr(value, "resolve_expression") for _, _, value in values)
        and not any(field.primary_key for field, _, _ in values)
    )
    keys = bound_to(query, bindings_of(query, compiler.connection)) if is_apt else ()
    return keys if len(keys) <= MOST_ROWS else ()


def look(compiler: SQLUpdateCompiler, keys: tuple[Any, ...]) -> Before:
    """Read the rows that the UPDATE of *compiler* may touch, and keep others from changing them until COMMIT.

    Raises what the UPDATE would raise, such as :exc:`~django.db.OperationalError` if it waits too
    long for them.
    """
    connection, meta = compiler.connection, compiler.query.get_meta()
    new = dict(_values(compiler.query))
    values = {field: value for field, value in new.items() if value is not _UNKNOWN}
    fields = list(dict.fromkeys([meta.pk, *values, *table_of(meta.db_table).partitions]))
    found = _read(compiler, meta.db_table, fields, keys)
    rows = {row_key(meta.pk, row[meta.pk], connection): row for row in found}
    return Before(
        rows={key: row for key, row in rows.items() if key is not None},
        new=values,
        expressions=frozenset(new.keys() - values.keys()),
        is_complete=len(rows.keys() - {None}) == len(keys),
        connection=connection,
        table=meta.db_table,
    )


def _read(
    compiler: SQLUpdateCompiler, table: str, fields: list[Any], keys: tuple[Any, ...]
) -> list[dict[Any, Any]]:
    connection = compiler.connection
    quote = connection.ops.quote_name
    (pk, *_) = fields
    names = ", ".join(quote(field.column) for field in fields)
    sql = (
        f"SELECT {names} FROM {quote(table)} WHERE {quote(pk.column)}"  # noqa: S608 - names, quoted
        f" IN ({', '.join(['%s'] * len(keys))}){_LOCKS[connection.vendor]}"
    )
    params = [pk.get_db_prep_value(key, connection, prepared=True) for key in keys]
    # Of the driver's connection: not a query of the application's, and not logged as one.
    with connection.wrap_database_errors:
        cursor = connection.connection.cursor()
        try:
            if connection.vendor == "sqlite":
                # It locks the database as a write does, and a transaction that has only read cannot
                # always write afterwards.
                cursor.execute(f"UPDATE {quote(table)} SET {quote(pk.column)} = NULL WHERE 0")  # noqa: S608
                sql = sql.replace("%s", "?")
            cursor.execute(sql, params)
            rows = cursor.fetchall()
        finally:
            cursor.close()
    columns = [field.cached_col for field in fields]
    converted = compiler.apply_converters(rows, compiler.get_converters(columns))
    return [dict(zip(fields, row, strict=True)) for row in converted]


_UNKNOWN: Any = object()


def _values(query: Any) -> Iterator[tuple[Any, Any]]:
    """The columns that an UPDATE sets, and to what; ``_UNKNOWN`` where the database computes it."""
    for field, _, value in query.values:
        is_instance = hasattr(value, "prepare_database_save") and field.remote_field
        new = value.prepare_database_save(field) if is_instance else value
        yield field, _UNKNOWN if hasattr(new, "resolve_expression") else new


def _is_same(field: Any, old: Any, new: Any) -> bool:
    """Whether the *old* value of *field* is the *new* one, to the last digit. In doubt it is not."""
    if old is None or new is None:
        return old is new
    try:
        return _is_djangos(field) and _are_same(field, old, new)
    except Exception:  # the statement itself will raise it
        return False


def _are_same(field: Any, old: Any, new: Any) -> bool:
    if isinstance(old, (datetime, time)):
        is_aware = old.tzinfo is not None
        return type(new) is type(old) and (new.tzinfo is not None) is is_aware and bool(old == new)
    prepared = field.get_prep_value(new)
    if isinstance(field, JSONField):
        is_plain = field.encoder is None and field.decoder is None
        return is_plain and json.dumps(old) == json.dumps(prepared)
    if isinstance(old, str):  # of an Enum: what the database gets
        return isinstance(prepared, str) and old == str.__str__(prepared)
    if type(prepared) is not type(old):
        return False
    spell = _SPELLINGS.get(type(old))
    return spell is not None and bool(spell(old) == spell(prepared))


def _is_djangos(field: Any) -> bool:
    """Whether it is known what *field* does with values."""
    return type(target_of(field)).__module__.startswith("django.db.models.")
