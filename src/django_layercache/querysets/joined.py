"""The rows behind foreign keys, and the tables that are read in no other way.

A row that is referred to was there before whatever refers to it, and stays as long; so a table in
which rows are looked up by a foreign key changes a result by what its rows have in the columns that
are read, and by nothing else.

Which rows they are is known once those with the keys have been read. Of a query that found all the
rows to which it is bound, each table that is joined by its primary key contributes the rows that these
refer to, and no others; their keys stand in the result.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DO_NOTHING, Exists, Value
from django.db.models.expressions import Col
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.constants import INNER
from django.db.models.sql.datastructures import Join
from django.db.models.sql.query import Query

from django_layercache import tags
from django_layercache.querysets.bindings import (
    MOST_ROWS,
    conjuncts,
    is_equality,
    row_key,
    target_of,
)

__all__ = [
    "as_python",
    "keys_of",
    "may_join_rows",
    "place_of",
    "repeats_no_row",
    "rows_joined",
    "tables_looked_up",
    "tables_with_late_rows",
    "tags_of_known_rows",
]


def may_join_rows(compiler: SQLCompiler) -> bool:
    """Whether there is a join at all."""
    return len(compiler.query.alias_map) > 1


def tables_looked_up(query: Query, sql: str, connection: BaseDatabaseWrapper) -> set[str]:
    """The tables in which *query*, of which *sql* is the text, only looks up rows that foreign keys refer to."""
    if not connection.features.supports_foreign_keys:
        return set()
    joins: dict[str, Any] = query.alias_map
    found = set()
    if any(_is_reference(condition, query) for condition in conjuncts(query.where)):
        found.add(tags.table_name(query.get_meta().db_table))
    if len(joins) < 2:
        return found
    for alias, join in joins.items():
        if not isinstance(join, Join):
            continue
        is_counted = query.alias_refcount[alias] > 0
        if _target(join) is not None and _is_sure(join.join_field):
            if is_counted or _stands_in(sql, join, connection):
                found.add(tags.table_name(join.table_name))
        elif is_counted and join.join_type == INNER and _is_sure(_foreign_key_to_parent(join)):
            found.add(tags.table_name(joins[join.parent_alias].table_name))
    return found


def _is_reference(condition: Any, query: Query) -> bool:
    """Whether it is ``Exists(...)`` of something that refers to the row of *query* by a foreign key."""
    exists = condition.lhs if is_equality(condition) and condition.rhs is True else condition
    if type(exists) is not Exists:
        return False
    inner = exists.query
    # One that aggregates has a row whether or not there is something.
    is_plain = all(type(one) is Value for one in inner.annotation_select.values())
    if inner.combinator or inner.group_by is not None or not is_plain:
        return False
    return any(_refers(one, inner, query) for one in conjuncts(inner.where))


def _refers(condition: Any, inner: Query, query: Query) -> bool:
    if not is_equality(condition) or not (type(condition.lhs) is type(condition.rhs) is Col):
        return False
    referring, referred = condition.lhs, condition.rhs
    return (
        referring.alias in inner.alias_map
        and referred.alias == query.base_table
        and referred.alias not in inner.alias_map
        and getattr(referring.target, "target_field", None) is referred.target
        and _is_sure(referring.target)
    )


def _stands_in(sql: str, join: Join, connection: BaseDatabaseWrapper) -> bool:
    """Whether *join* is in the text *sql*: of those for ``select_related()`` and an order only that tells."""
    quote = connection.ops.quote_name
    table, ((referring, referred),) = quote(join.table_name), join.join_cols
    on = f"{quote(join.parent_alias)}.{quote(referring)} = {table}.{quote(referred)}"
    return f" JOIN {table} ON ({on}" in sql


def repeats_no_row(query: Query) -> bool:
    """Whether each row of the query's own table is in its result once at the most."""
    joins: dict[str, Any] = query.alias_map  # one by which it is ordered is not counted
    return all(
        alias == query.base_table or (isinstance(join, Join) and _target(join) is not None)
        for alias, join in joins.items()
    )


def _foreign_key_to_parent(join: Any) -> Any:
    """The foreign key by which *join* finds what refers to its parent, if by nothing else."""
    field = getattr(join.join_field, "field", None)
    if len(join.join_cols) != 1 or field is None or not getattr(field, "concrete", False):
        return None
    target = getattr(field, "target_field", None)
    is_it = target is not None and join.join_cols[0] == (target.column, field.column)
    return field if is_it else None


def _is_sure(field: Any) -> bool:
    """Whether the database sees to it that what the foreign key *field*, if any, refers to is there."""
    if field is None:
        return False
    # Who tells Django to do nothing on deletion may have told the database to do something.
    is_kept = field.remote_field.on_delete is not DO_NOTHING
    return bool(is_kept and field.db_constraint and field.model._meta.managed)


def tables_with_late_rows(compiler: SQLCompiler, read_once: frozenset[str]) -> frozenset[str]:
    """The tables of which :func:`rows_joined` may tell the rows."""
    return frozenset(table for _, table, *_ in _keys_in_result(compiler, read_once))


def rows_joined(
    compiler: SQLCompiler,
    result: Sequence[Any],
    database: str,
    read_once: frozenset[str],
    wanted: Iterable[str],
) -> dict[str, list[str]]:
    """For what is *wanted* of each table that is joined by its primary key: the rows that are in *result*."""
    known = {compiler.query.base_table}
    found: dict[str, list[str]] = {}
    for join, table, target, referring, referred in _keys_in_result(compiler, read_once):
        if join.parent_alias not in known:
            continue
        rows = _rows([(row[referring], row[referred]) for row in result], target, compiler)
        if rows is not None and len(rows) <= MOST_ROWS:
            known.add(str(join.table_alias))
            late = tags_of_known_rows(database, table, rows)
            general = (tags.any_row(database, table), tags.column(database, table, ""))
            found |= {tag: late for tag in wanted if tag.startswith(general)}
    return found


def tags_of_known_rows(database: str, table: str, rows: Iterable[str]) -> list[str]:
    """What changes if one of *rows* does."""
    return [
        tags.epoch(database, table),
        *(tags.row(database, table, row) for row in sorted(rows)),
    ]


def place_of(compiler: SQLCompiler, alias: str | None, column: str | None) -> int | None:
    """Where in a row of the result a column stands."""
    return _positions(compiler).get((alias or "", column))


def _keys_in_result(
    compiler: SQLCompiler, read_once: frozenset[str]
) -> Iterator[tuple[Join, str, Any, int, int]]:
    """The joins by primary key of which both ends are in the result, with their tables and places there."""
    joins: dict[str, Any] = compiler.query.alias_map
    if len(joins) < 2:
        return
    positions = _positions(compiler)
    known = {compiler.query.base_table}
    for alias, join in joins.items():
        is_join = isinstance(join, Join) and join.parent_alias in known
        target = _target(join) if is_join and join.filtered_relation is None else None
        if target is None or not target.primary_key:
            continue
        table = tags.table_name(join.table_name)
        referring = positions.get((join.parent_alias, join.join_cols[0][0]))
        referred = positions.get((alias, target.column))
        if referring is not None and referred is not None and table in read_once:
            known.add(str(alias))
            yield join, table, target, referring, referred


def _positions(compiler: SQLCompiler) -> dict[tuple[str, Any], int]:
    """Where in a row of the result each column stands."""
    return {
        (expression.alias, expression.target.column): position
        for position, (expression, _, _) in enumerate(compiler.select or ())
        if type(expression) is Col
    }


def _target(join: Join) -> Any:
    """The unique column that *join* looks up by a foreign key, as a field; ``None`` if it does something else."""
    if len(join.join_cols) != 1:
        return None
    referring, referred = join.join_cols[0]
    field: Any = join.join_field
    target = getattr(field, "target_field", None)
    if not getattr(field, "concrete", False) or field.column != referring:
        return None
    return target if target is not None and target.column == referred else None


def _rows(pairs: Sequence[tuple[Any, Any]], target: Any, compiler: SQLCompiler) -> set[str] | None:
    """The keys that are referred to in *pairs* of both ends; ``None`` if one cannot be told."""
    # What refers to nothing says so in its own row.
    return keys_of(
        [to for referring, to in pairs if (referring, to) != (None, None)], target, compiler
    )


def keys_of(values: Iterable[Any], field: Any, compiler: SQLCompiler) -> set[str] | None:
    """The keys of rows with these *values*, as the driver returned them; ``None`` if one cannot be told."""
    keys = {row_key(field, as_python(field, value), compiler.connection) for value in values}
    return None if None in keys else {key for key in keys if key is not None}


def as_python(field: Any, value: Any) -> Any:
    """What the driver returned, as a field's value: a UUID may come as text."""
    if target_of(field).get_internal_type() == "UUIDField" and isinstance(value, str):
        return UUID(value)
    return value
