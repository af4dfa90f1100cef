"""The rows behind foreign keys: which they are is known once the rows with the keys have been read.

Of a query that found all the rows to which it is bound, each table that is joined by its primary
key contributes the rows that these refer to, and no others; their keys stand in the result.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models.expressions import Col
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.datastructures import Join

from django_layercache import tags
from django_layercache.querysets.bindings import MOST_ROWS, row_key

__all__ = ["may_join_rows", "rows_joined"]


def may_join_rows(compiler: SQLCompiler) -> bool:
    """Whether there is a join at all."""
    return len(compiler.query.alias_map) > 1


def rows_joined(
    compiler: SQLCompiler, result: Sequence[Any], database: str, read_once: frozenset[str]
) -> dict[str, list[str]]:
    """For the "any row" of each table that is joined by its primary key: the rows that are in *result*."""
    positions = _positions(compiler)
    known = {compiler.query.base_table}
    found: dict[str, list[str]] = {}
    joins: dict[str, Any] = compiler.query.alias_map
    for alias, join in joins.items():
        target = _target(join) if isinstance(join, Join) and join.parent_alias in known else None
        if target is None:
            continue
        table = tags.table_name(join.table_name)
        referring = positions.get((join.parent_alias, join.join_cols[0][0]))
        referred = positions.get((alias, target.column))
        if referring is None or referred is None or table not in read_once:
            continue
        rows = _rows([(row[referring], row[referred]) for row in result], target, compiler)
        if rows is not None and len(rows) <= MOST_ROWS:
            known.add(alias)
            found[tags.any_row(database, table)] = [
                tags.epoch(database, table),
                *(tags.row(database, table, row) for row in sorted(rows)),
            ]
    return found


def _positions(compiler: SQLCompiler) -> dict[tuple[str, Any], int]:
    """Where in a row of the result each column stands."""
    return {
        (expression.alias, expression.target.column): position
        for position, (expression, _, _) in enumerate(compiler.select or ())
        if type(expression) is Col
    }


def _target(join: Any) -> Any:
    """The primary key that *join* looks up by a foreign key, and by nothing else; else ``None``."""
    if len(join.join_cols) != 1 or join.filtered_relation is not None:
        return None
    referring, referred = join.join_cols[0]
    field = join.join_field
    target = getattr(field, "target_field", None)
    if not getattr(field, "concrete", False) or field.column != referring:
        return None
    is_key = target is not None and target.primary_key and target.column == referred
    return target if is_key else None


def _rows(pairs: Sequence[tuple[Any, Any]], target: Any, compiler: SQLCompiler) -> set[str] | None:
    """The keys that are referred to in *pairs* of both ends; ``None`` if one cannot be told."""
    rows: set[str] = set()
    for referring, referred in pairs:
        if referring is None and referred is None:
            continue  # it refers to nothing, which is said in its own row
        key = row_key(target, _as_python(target, referred), compiler.connection)
        if key is None:
            return None
        rows.add(key)
    return rows


def _as_python(field: Any, value: Any) -> Any:
    """What the driver returned, as a field's value: a UUID may come as text."""
    while field.remote_field is not None:
        field = field.target_field
    if field.get_internal_type() == "UUIDField" and isinstance(value, str):
        return UUID(value)
    return value
