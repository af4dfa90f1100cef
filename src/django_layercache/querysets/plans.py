"""A read, looked at before it runs: its key, its tags, and whether it may be cached at all."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.core.signals import setting_changed
from django.db.models.sql.compiler import SQLAggregateCompiler, SQLCompiler
from django.db.models.sql.query import Query

from django_layercache import conf, tags
from django_layercache.querysets import policies, sqlfunctions
from django_layercache.querysets.bindings import Binding, bindings_of, bound_rows
from django_layercache.querysets.connections import ConnectionState, state_of
from django_layercache.querysets.joined import may_join_rows, rows_joined
from django_layercache.querysets.procedures import as_declared
from django_layercache.querysets.rawsql import effect_of
from django_layercache.querysets.sqltext import LONGEST, Scan, scan

#: What databases read as a time that depends on when they read it.
_MOVING_TIMES = ("now", "today", "tomorrow", "yesterday")

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

    compiler: SQLCompiler
    key: str = ""
    tags: tuple[str, ...] = ()
    unknown: str | None = None
    uncacheable: str | None = None
    rows: tuple[str, ...] = ()
    is_of_one_table: bool = False
    database: str = ""
    read_once: frozenset[str] = frozenset()

    @property
    def may_have_late_tags(self) -> bool:
        """Whether it is worth asking :meth:`late`."""
        return bool(self.rows) and may_join_rows(self.compiler)

    def late(self, result: Sequence[Any]) -> dict[str, list[str]]:
        """The rows behind foreign keys that may take the place of "any row" of their tables."""
        if not self._found_all(result):
            return {}
        return rows_joined(self.compiler, result, self.database, self.read_once)

    def settle(self, result: Sequence[Any]) -> Iterable[str]:
        """The tags that *result* depends on.

        A query that found all the rows to which it is bound depends on them; one that did not
        depends on any row, because a missing one can be inserted.
        """
        return self.tags[:-1] if self.rows and self._found_all(result) else self.tags

    def _found_all(self, result: Sequence[Any]) -> bool:
        if not _returns_its_rows(self.compiler):
            return False
        if len(self.rows) == 1:
            return len(result) > 0
        one_each = self.is_of_one_table and not self.compiler.query.is_sliced
        return one_each and len(result) == len(self.rows)


def plan_of(compiler: SQLCompiler, sql: str, params: Sequence[Any]) -> Plan:
    """Look at the statement *sql* that *compiler* has made."""
    connection = compiler.connection
    state = state_of(connection)
    database = state.database
    main = compiler.query.get_meta().db_table
    shape_of = _shape_of if len(sql) <= LONGEST else _shape_of.__wrapped__
    shape = shape_of(sql, connection.vendor, database)
    unknown, excluded = policies.reservations(shape.tables)
    unknown = shape.unknown or unknown
    if unknown is None and shape.is_handwritten and not policies.are_models(shape.tables):
        unknown = "hand-written SQL reads something that is no model's table, and may be a view"
    if unknown is not None:
        return Plan(compiler, unknown=unknown)
    key, unkeyable = _key(state, main, sql, params)
    bindings = list(bindings_of(compiler.query, connection)) if shape.read_once else []
    partitions = _partitions(compiler.query, shape, database, bindings)
    is_once = tags.table_name(main) in shape.read_once
    rows = bound_rows(compiler.query, bindings) if is_once else None
    return Plan(
        compiler,
        key,
        _tags(shape, database, main, rows, partitions),
        uncacheable=shape.volatile
        or unkeyable
        or excluded
        or _why_volatile(compiler, shape, params),
        rows=rows or (),
        is_of_one_table=shape.is_of_one_table,
        database=database,
        read_once=shape.read_once,
    )


def _why_volatile(compiler: SQLCompiler, shape: "_Shape", params: Sequence[Any]) -> str | None:
    """Why the result may change although no table does and the text does not say so."""
    if state_of(compiler.connection).means_otherwise:
        return "the connection's search path, role or variables were changed"
    if compiler.query.select_for_update:
        return (
            "it locks rows"  # where the database can; where it cannot, nothing in the text says so
        )
    if shape.reads_times and any(
        isinstance(param, str) and param.strip().lower().startswith(_MOVING_TIMES)
        for param in params
    ):
        return "'now' gives another result each time"
    return None


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the text alone says: the same for all parameters."""

    tables: frozenset[str]
    tags: tuple[str, ...]
    unknown: str | None
    volatile: str | None
    is_handwritten: bool
    #: A text that it is given may be read as a date or a time.
    reads_times: bool
    read_once: frozenset[str]
    is_of_one_table: bool


@lru_cache(maxsize=4096)
def _shape_of(sql: str, vendor: str, database: str) -> _Shape:
    scanned = scan(sql)
    tables, unknown = _tables(scanned, sql, vendor)
    return _Shape(
        tables,
        (tags.database(database), *(tags.any_row(database, table) for table in sorted(tables))),
        unknown,
        scanned.volatile,
        is_handwritten=scanned.handwritten is not None,
        reads_times=not scanned.functions.isdisjoint(sqlfunctions.DATES) or "::" in sql,
        read_once=frozenset(table for table, times in scanned.tables.items() if times == 1)
        if scanned.handwritten is None
        else frozenset(),
        is_of_one_table=scanned.tables.total() == 1,
    )


def _tables(scanned: Scan, sql: str, vendor: str) -> tuple[frozenset[str], str | None]:
    """The tables of the statement, or why they are not known."""
    if scanned.handwritten is None:
        return frozenset(scanned.tables), None
    effect = as_declared(effect_of(sql, vendor))
    if effect.reads is None or effect.writes is None or effect.writes:
        return frozenset(), f"it {scanned.handwritten}"
    return effect.reads | scanned.tables.keys(), None


def _tags(
    shape: _Shape,
    database: str,
    main: str,
    rows: tuple[str, ...] | None,
    partitions: dict[str, list[str]],
) -> tuple[str, ...]:
    """The tags of the text, narrowed to the rows and partitions that the parameters bind it to."""
    any_row = tags.any_row(database, main)
    if rows:
        partitions.pop(any_row, None)
    elif not partitions:
        return shape.tags
    narrowed = [
        tag
        for general in shape.tags
        if not (rows and general == any_row)
        for tag in partitions.get(general, (general,))
    ]
    if rows:
        narrowed.append(tags.epoch(database, main))
        narrowed.extend(tags.row(database, main, row) for row in rows)
        narrowed.append(any_row)  # last: the one that settle() may leave away
    return tuple(narrowed)


def _partitions(
    query: Query, shape: _Shape, database: str, bindings: list[Binding]
) -> dict[str, list[str]]:
    """For the "any row" of each table that is read once, and bound to partitions: these."""
    found: dict[str, list[str]] = {}
    for binding in bindings:
        table = tags.table_name(query.alias_map[binding.alias].table_name)
        if table in shape.read_once and binding.field in policies.partition_fields(table):
            column = binding.field.column
            found[tags.any_row(database, table)] = [
                tags.any_partition(database, table, column),
                *(tags.partition(database, table, column, key) for key in binding.keys),
            ]
    return found


def _returns_its_rows(compiler: SQLCompiler) -> bool:
    """Whether a row in the result proves a row in the table: not so for ``SELECT COUNT(*)``."""
    query = compiler.query
    if isinstance(compiler, SQLAggregateCompiler):
        return False
    return query.group_by is not None or not any(
        getattr(annotation, "contains_aggregate", True)
        for annotation in query.annotation_select.values()
    )


def _key(
    state: ConnectionState, table: str, sql: str, params: Sequence[Any]
) -> tuple[str, str | None]:
    try:
        spelt = repr([_spelt(param) for param in params])
    except TypeError as error:
        return "", str(error)
    digest = hashlib.blake2b(
        f"{len(sql)}:{sql}{spelt}{state.session}".encode("utf-8", "surrogatepass"), digest_size=16
    )
    return f"q:{state.database}:{table}:{digest.hexdigest()}", None


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
    if kind is memoryview or name == "psycopg.dbapi20.Binary":
        return (name, bytes(param if kind is memoryview else param.obj))
    if kind is dict or name.startswith("psycopg.types.json.Json"):
        return (name, _spelt_json(param if kind is dict else param.obj))
    if name.startswith(("ipaddress.", "psycopg.types.range.", "psycopg2._range.")):
        return (name, repr(param))
    raise TypeError(f"a parameter of the type {name} cannot be part of a key")


def _spelt_json(value: Any) -> Any:
    if isinstance(value, dict):
        return ("dict", [(_spelt(key), _spelt_json(item)) for key, item in value.items()])
    if isinstance(value, (list, tuple)):
        return ("list", [_spelt_json(item) for item in value])
    return _spelt(value)


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == conf.SETTING:
        _shape_of.cache_clear()  # what functions read has perhaps been declared otherwise


setting_changed.connect(_on_setting_changed, dispatch_uid="django_layercache.querysets.plans")
