"""What an UPDATE of known rows really changes: they are read first, under the lock that it takes anyway.

``save()`` sets every column, and most of them to what they were. A look at the row tells which ones it
changes, and which partitions the row is in.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db.models import Case, DateTimeField, DecimalField, JSONField
from django.db.models.functions import Cast
from django.db.models.options import Options
from django.db.models.sql.compiler import SQLUpdateCompiler

from django_layercache.querysets import policies
from django_layercache.querysets.bindings import (
    bindings_of,
    bound_to,
    has_one_condition,
    partition_keys,
    row_key,
    target_of,
)
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.isolation import take_snapshot
from django_layercache.querysets.joined import as_python
from django_layercache.querysets.rowcounts import RowCount
from django_layercache.querysets.tables import table_of
from django_layercache.tags import table_name

__all__ = ["Before", "Difference", "look", "to_look_at"]

#: An UPDATE of more rows than this is not compared.
MOST_ROWS = 20

#: The lock of an UPDATE that leaves the keys alone, and what says so.
_LOCKS = {"postgresql": " FOR NO KEY UPDATE", "sqlite": ""}

#: What ``bulk_update()`` makes of values. They are not compared; but the partitions of the rows are told.
_IN_BULK = {Case, Cast}

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
    """The rows to which an UPDATE is bound, by their keys, as the driver returns them before it.

    ``new`` are the columns' values after it, where they are known; ``computed`` the others.
    """

    rows: Mapping[str, Mapping[Any, Any]]
    new: Mapping[Any, Any]
    computed: frozenset[Any]
    is_complete: bool
    compiler: SQLUpdateCompiler

    def difference(self, count: RowCount) -> Difference | None:
        """What is different after the UPDATE, which touched *count* rows.

        ``None`` if it may have touched one that was not found before.
        """
        if not self.is_complete and not (count.is_certain and count.rows <= len(self.rows)):
            return None
        changed = {key: found for key, row in self.rows.items() if (found := self._changed(row))}
        columns = {table_name(field.column) for found in changed.values() for field in found}
        known = table_of(self.compiler.query.get_meta().db_table)
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
        connection = self.compiler.connection
        found = {f for f, new in self.new.items() if not _is_same(f, row[f], new, connection)}
        return found | self.computed

    def _partitions(self, field: Any, changed: Mapping[str, Any]) -> frozenset[str] | None:
        """Those of *field* in which the rows are and were; ``None`` if one cannot be told."""
        if field in self.computed:
            return None
        values = [as_python(field, self.rows[key][field]) for key in changed]
        if field in self.new:
            values.append(self.new[field])
        keys = partition_keys(field, values, self.compiler.connection)
        return None if keys is None else frozenset(keys)


def to_look_at(compiler: SQLUpdateCompiler) -> tuple[Any, ...]:
    """The primary keys of the rows to read before the UPDATE of *compiler*; none if it is not worth it.

    It is if a few rows get values, which may be those that they have, or are written in bulk. An UPDATE that
    has more conditions may leave rows alone, and must not wait for whoever has locked these.
    """
    query: Any = compiler.query
    meta, values = query.get_meta(), query.values
    is_apt = (
        compiler.connection.vendor in _LOCKS
        and not compiler.connection.needs_rollback
        and not policies.may_be_view(meta.db_table)
        and meta.concrete_model in table_of(meta.db_table).models  # not one of a migration
        and policies.compares(query.model)
        and not query.related_updates
        and has_one_condition(query)
        and any(_may_be_value(value) for _, _, value in values)
        and not any(field.primary_key or field.column is None for field, _, _ in values)
    )
    keys = bound_to(query, bindings_of(query, compiler.connection)) if is_apt else ()
    return keys if len(keys) <= MOST_ROWS else ()


def _may_be_value(value: Any) -> bool:
    return not hasattr(value, "resolve_expression") or type(value) in _IN_BULK


def look(compiler: SQLUpdateCompiler, keys: tuple[Any, ...]) -> Before | None:
    """Read the rows that the UPDATE of *compiler* may touch, and keep others from changing them until COMMIT.

    ``None`` if they cannot be read. Raises what the UPDATE would raise, such as
    :exc:`~django.db.OperationalError` if it waits too long for them.
    """
    meta: Any = compiler.query.get_meta()
    sets = dict(_values(compiler.query))
    new = {field: value for field, value in sets.items() if value is not _UNKNOWN}
    telling = _telling(meta, sets) if compiler.connection.vendor == "postgresql" else []
    if not all(field in new for field in telling):
        return None
    fields = list(dict.fromkeys([meta.pk, *new, *table_of(meta.db_table).partitions]))
    found = _read(compiler, fields, [(field, new[field]) for field in telling])
    if found is None:
        return None
    rows = {row_key(meta.pk, as_python(meta.pk, row[0]), compiler.connection): row for row in found}
    return Before(
        rows={
            key: dict(zip(fields, row, strict=True)) for key, row in rows.items() if key is not None
        },
        new=new,
        computed=frozenset(sets.keys() - new.keys()),
        is_complete=len(rows.keys() - {None}) == len(keys),
        compiler=compiler,
    )


def _telling(meta: "Options[Any]", fields: Mapping[Any, Any]) -> list[Any]:
    """Those of *fields* to which foreign keys may refer.

    An UPDATE that gives one of them another value takes a stronger lock. It must not have a weaker one
    before: two transactions that wait for each other would be the end of one.
    """
    together = {
        *chain(*meta.unique_together),
        *chain(*(c.fields for c in meta.total_unique_constraints)),
    }
    return [field for field in fields if field.unique or field.name in together]


def _read(
    compiler: SQLUpdateCompiler, fields: list[Any], kept: list[tuple[Any, Any]]
) -> list[tuple[Any, ...]] | None:
    """What the rows have in *fields*, of those that have already what they get in the fields *kept*."""
    connection, query = compiler.connection, compiler.query
    quote = connection.ops.quote_name
    table = quote(query.get_meta().db_table)
    try:
        where, bound = compiler.compile(query.where)  # type: ignore[arg-type]
    except EmptyResultSet:  # there is no such number
        return None
    same = [f" AND {quote(field.column)} IS NOT DISTINCT FROM %s" for field, _ in kept]
    params = [*bound, *(field.get_db_prep_save(value, connection) for field, value in kept)]
    # What is computed, if only by a plus, SQLite's driver leaves as it is, whatever the column's type.
    sign = "+" if connection.vendor == "sqlite" else ""
    names = ", ".join(f"{sign}{quote(field.column)}" for field in fields)
    _begin_to_see(compiler)
    # Past the wrapper of Django's: not a query of the application's, and not logged as one.
    with connection.wrap_database_errors, closing(connection.create_cursor()) as cursor:
        if connection.vendor == "sqlite":
            # It locks the database as a write does, and a transaction that has only read cannot
            # always write afterwards.
            own = quote(query.values[0][0].column)  # type: ignore[attr-defined]
            cursor.execute(f"UPDATE {table} SET {own} = NULL WHERE 0")  # noqa: S608 - names, quoted
        cursor.execute(
            f"SELECT {names} FROM {table} WHERE {where}{''.join(same)}{_LOCKS[connection.vendor]}",  # noqa: S608
            params,
        )
        with suppress(Exception):  # what Python has no value for can be overwritten all the same
            return list(cursor.fetchall())
    return None


def _begin_to_see(compiler: SQLUpdateCompiler) -> None:
    """The look may be what a transaction sees first, and has its snapshot from."""
    state = state_of(compiler.connection)
    if state.sight.snapshot is None and state.in_transaction:
        take_snapshot(state)


_UNKNOWN: Any = object()


def _values(query: Any) -> Iterator[tuple[Any, Any]]:
    """The columns that an UPDATE sets, and to what; ``_UNKNOWN`` where it is for others to say."""
    for field, _, value in query.values:
        is_instance = hasattr(value, "prepare_database_save") and field.remote_field
        new = value.prepare_database_save(field) if is_instance else value
        is_known = _is_djangos(field) and not hasattr(new, "resolve_expression")
        yield field, new if is_known else _UNKNOWN


def _is_same(field: Any, old: Any, new: Any, connection: Any) -> bool:
    """Whether *old*, as the driver returned it, stays what it is if *field* gets the *new* value.

    To the last digit: different ones may be read as the same. In doubt it does not.
    """
    if old is None or new is None:
        return old is new
    try:
        if isinstance(field, DateTimeField) and not _is_proper(new):
            return False
        if connection.vendor == "sqlite":
            return _stays_in_sqlite(field, old, field.get_db_prep_save(new, connection))
        return _stays_in_postgresql(field, old, new)
    except Exception:  # the statement itself will raise it
        return False


def _is_proper(new: Any) -> bool:
    """Whether Django takes the time *new* as it is, and does not warn of it."""
    return type(new) is datetime and (new.tzinfo is not None) is settings.USE_TZ


def _stays_in_sqlite(field: Any, old: Any, sent: Any) -> bool:
    """SQLite keeps what it is sent, but for numbers, which it may be sent as text."""
    if isinstance(target_of(field), DecimalField):
        return Decimal(str(old)) == Decimal(sent)
    if isinstance(old, str):  # of an Enum: what the database gets
        return isinstance(sent, str) and old == str.__str__(sent)
    if isinstance(old, bytes):
        return old == bytes(memoryview(sent))
    sent = int(sent) if isinstance(sent, bool) else sent
    return type(sent) is type(old) and repr(sent) == repr(old)


def _stays_in_postgresql(field: Any, old: Any, new: Any) -> bool:
    if isinstance(old, datetime):
        # One that is twice in a year, when clocks are put back, may be either without its zone.
        return old.tzinfo is not None and old.astimezone(UTC) == new.astimezone(UTC)
    if isinstance(old, time):
        return type(new) is time and new.tzinfo is None and old == new
    prepared = field.get_prep_value(new)
    if isinstance(field, JSONField):
        is_plain = field.encoder is None and field.decoder is None
        return is_plain and _spelt_json(old) == _spelt_json(json.dumps(prepared))
    if isinstance(old, str):
        return isinstance(prepared, str) and old == str.__str__(prepared)
    spell = _SPELLINGS.get(type(old))
    return spell is not None and type(prepared) is type(old) and bool(spell(old) == spell(prepared))


def _spelt_json(text: str) -> str:
    """The value that *text* has, and the digits of its numbers: 1.50 is kept, but read as 1.5."""
    return json.dumps(json.loads(text, parse_float="\0{}".format))


def _is_djangos(field: Any) -> bool:
    """Whether it is known what *field* does with values."""
    return all(
        type(one).__module__.startswith("django.db.models.") for one in (field, target_of(field))
    )
