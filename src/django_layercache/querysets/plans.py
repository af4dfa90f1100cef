"""A read, looked at before it runs: its key, its tags, and whether it may be cached at all."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models.sql.compiler import SQLAggregateCompiler, SQLCompiler

from django_layercache import tags
from django_layercache.querysets import policies
from django_layercache.querysets.bindings import bound_rows
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.rawsql import effect_of
from django_layercache.querysets.sqltext import Scan, scan

__all__ = ["Plan", "plan_of"]

_PLAIN = frozenset(
    {int, str, float, bool, bytes, type(None), date, datetime, time, timedelta, Decimal, UUID}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """``tags`` are those whose state is to be fetched before the read.

    ``unknown`` says why its dependencies are not known, so that nothing that contains it may be
    stored; ``uncacheable`` why its own result is not stored although they are. ``rows`` are the
    rows that it is bound to.
    """

    key: str
    tags: tuple[str, ...]
    unknown: str | None = None
    uncacheable: str | None = None
    rows: tuple[str, ...] = ()
    proves_rows: bool = False
    single_table: bool = False

    def settle(self, result: Sequence[Any]) -> Iterable[str]:
        """The tags that *result* depends on.

        A query that found all the rows to which it is bound depends on them; one that did not
        depends on any row, because a missing one can be inserted.
        """
        if not self.rows:
            return self.tags
        return self.tags[:-1] if self._found_all(result) else self.tags

    def _found_all(self, result: Sequence[Any]) -> bool:
        if not self.proves_rows:
            return False
        if len(self.rows) == 1:
            return len(result) > 0
        return self.single_table and len(result) == len(self.rows)


def plan_of(compiler: SQLCompiler, sql: str, params: Sequence[Any]) -> Plan:
    """Look at the statement *sql* that *compiler* has made."""
    database = state_of(compiler.connection).database
    scanned = scan(sql)
    tables, unknown = _tables(scanned, sql, compiler.connection.vendor)
    unknown = unknown or policies.unknown(tables)
    if unknown is not None:
        return Plan("", (), unknown=unknown)
    main = tags.table_name(compiler.query.get_meta().db_table)
    rows = _rows_read_once(compiler, scanned, main)
    key, unkeyable = _key(database, main, sql, params)
    return Plan(
        key,
        (*_tags(database, tables, main, rows),),
        uncacheable=scanned.volatile or unkeyable or policies.excluded(tables),
        rows=tuple(rows or ()),
        proves_rows=_returns_its_rows(compiler),
        single_table=scanned.tables.total() == 1 and not compiler.query.is_sliced,
    )


def _tables(scanned: Scan, sql: str, vendor: str) -> tuple[Collection[str], str | None]:
    """The tables of the statement, or why they are not known."""
    if scanned.handwritten is None:
        return scanned.tables.keys(), None
    effect = effect_of(sql, vendor)
    if effect.reads is None or effect.writes is None or effect.writes:
        return (), f"it {scanned.handwritten}"
    return effect.reads | scanned.tables.keys(), None


def _tags(database: str, tables: Iterable[str], main: str, rows: list[str] | None) -> Iterable[str]:
    yield tags.database(database)
    for table in tables:
        if not rows or table != main:
            yield tags.any_row(database, table)
    if rows:
        yield tags.epoch(database, main)
        yield from (tags.row(database, main, row) for row in rows)
        yield tags.any_row(database, main)  # last: the one that settle() may leave away


def _rows_read_once(compiler: SQLCompiler, scanned: Scan, main: str) -> list[str] | None:
    """The rows to which the query is bound, unless it reads its table a second time, unbound."""
    if scanned.tables[main] != 1 or scanned.handwritten is not None:
        return None
    return bound_rows(compiler.query, compiler.connection)


def _returns_its_rows(compiler: SQLCompiler) -> bool:
    """Whether a row in the result proves a row in the table: not so for ``SELECT COUNT(*)``."""
    query = compiler.query
    if isinstance(compiler, SQLAggregateCompiler):
        return False
    return query.group_by is not None or not any(
        getattr(annotation, "contains_aggregate", True)
        for annotation in query.annotation_select.values()
    )


def _key(database: str, table: str, sql: str, params: Sequence[Any]) -> tuple[str, str | None]:
    try:
        spelt = repr([_spelt(param) for param in params])
    except TypeError as error:
        return "", str(error)
    digest = hashlib.blake2b(
        f"{len(sql)}:{sql}{spelt}".encode("utf-8", "surrogatepass"), digest_size=16
    )
    return f"q:{database}:{table}:{digest.hexdigest()}", None


def _spelt(param: Any) -> Any:
    """*param*, or something whose ``repr`` differs wherever the database could tell it apart."""
    kind = type(param)
    if kind in _PLAIN:
        return param
    if kind in {list, tuple}:
        return (kind.__name__, [_spelt(item) for item in param])
    return _spelt_object(param, kind)


def _spelt_object(param: Any, kind: type) -> tuple[str, Any]:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(param, str):
        return (name, str.__str__(param))
    if isinstance(param, int):
        return (name, int.__int__(param))
    if kind is memoryview:
        return (name, bytes(param))
    if name.startswith("psycopg.types.json.Json"):
        return (name, _spelt_json(param.obj))
    if name.startswith(("psycopg.types.range.", "psycopg2._range.")):
        return (name, repr(param))
    raise TypeError(f"a parameter of the type {name} cannot be part of a key")


def _spelt_json(value: Any) -> Any:
    if isinstance(value, dict):
        return ("dict", [(_spelt(key), _spelt_json(item)) for key, item in value.items()])
    if isinstance(value, (list, tuple)):
        return ("list", [_spelt_json(item) for item in value])
    return _spelt(value)
