"""Whether a query says of all its rows in which order they come.

Of rows that are equal in what they are ordered by, PostgreSQL returns first what it finds first, and a
change of any column moves a row. So an order in which two different rows may be equal depends on all columns.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from django.db.models import (
    Aggregate,
    Case,
    ExpressionWrapper,
    Func,
    Lookup,
    Subquery,
    Value,
    When,
)
from django.db.models.expressions import Col, CombinedExpression
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.datastructures import Join
from django.db.models.sql.query import Query
from django.db.models.sql.where import WhereNode

from django_layercache.querysets.tables import table_of

__all__ = ["Terms", "is_total", "terms_of"]

#: A column, as its alias and name, or the number of a column of the result, from 1.
Column = tuple[str, str]
Term = Column | int
Terms = frozenset[Term]

_NAME = r'(?:"(?:[^"]|"")+"|`[^`]+`)'
_TERM = re.compile(
    rf"(?:(?:({_NAME})\.)?({_NAME})|\(?(\d+)\)?)(?: ASC| DESC)?(?: NULLS (?:FIRST|LAST))?"
)
_LIMIT = re.compile(r"(?: LIMIT -?\d+)?(?: OFFSET \d+)?$")


def terms_of(sql: str) -> Terms:
    """The columns by which the statement *sql* orders its result; what else it orders by is left out."""
    _, found, text = sql.rpartition(" ORDER BY ")
    text = _LIMIT.sub("", text)
    if not found or text.count("(") != text.count(")"):
        return frozenset()  # that of a subquery, or of a window
    return frozenset(_read(text))


def _read(text: str) -> Iterator[Term]:
    for term in text.split(", "):
        match = _TERM.fullmatch(term)
        if match is not None:
            alias, name, number = match.groups()
            yield int(number) if number else (_plain(alias or ""), _plain(name))


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"')


def is_total(compiler: SQLCompiler, terms: Terms) -> bool:
    """Whether rows of the result that are equal in *terms* are equal."""
    query: Query = compiler.query
    selected = [(expression, alias or "") for expression, _, alias in compiler.select or ()]
    columns = {term for term in terms if isinstance(term, tuple) and term[0]}
    said = [
        place in terms or ("", alias) in terms or _is_column(expression, columns)
        for place, (expression, alias) in enumerate(selected, start=1)
    ]
    columns |= {
        (expression.alias, str(expression.target.column))
        for (expression, _), is_said in zip(selected, said, strict=True)
        if is_said and type(expression) is Col
    }
    told = _told_apart(query, columns)
    if not query.combinator and _is_one_each(query, columns, told):
        return True
    return bool(selected) and all(
        is_said or _is_told(expression, told)
        for (expression, _), is_said in zip(selected, said, strict=True)
    )


#: Expressions whose value is made of those of their parts, and of nothing else.
_MADE_OF_PARTS = (Func, CombinedExpression, ExpressionWrapper, Case, When, WhereNode, Lookup)


def _is_told(expression: Any, told: Collection[str]) -> bool:
    """Whether *expression* is the same in two rows that have the same rows of the tables *told*."""
    if isinstance(expression, (Value, str, int)):
        return True
    if isinstance(expression, Col):
        return expression.alias in told
    if isinstance(expression, Subquery):
        return all(column.alias in told for column in expression.get_external_cols())
    if isinstance(expression, Aggregate) or not isinstance(expression, _MADE_OF_PARTS):
        return False
    parts = expression.get_source_expressions()
    return all(part is None or _is_told(part, told) for part in parts)


def _is_column(expression: Any, columns: Collection[Column]) -> bool:
    return type(expression) is Col and (expression.alias, expression.target.column) in columns


def _is_one_each(query: Query, columns: Collection[Column], told: Collection[str]) -> bool:
    """Whether the result has one row for each of the rows that are *told* apart, or for each value of *columns*."""
    if query.group_by is None:
        # Those of an order are not counted as referred to, once it has been compiled.
        return query.alias_map.keys() <= set(told)
    if query.group_by is True:
        return query.base_table in told
    return all(
        _is_column(one, columns) or getattr(one, "alias", None) in told for one in query.group_by
    )


def _told_apart(query: Query, columns: Collection[Column]) -> set[str]:
    """The aliases of tables of which *columns* say which row it is."""
    told: set[str] = set()
    joins: dict[str, Any] = query.alias_map
    for alias, join in joins.items():
        own = {column for of, column in columns if of == alias}
        if _has_key(join.table_name, own) or _is_looked_up(join, told):
            told.add(alias)
    return told


def _has_key(table: str, columns: Collection[str]) -> bool:
    """Whether *columns* have all of a key, which no two rows have in common."""
    return any(key.issubset(columns) for key in table_of(table).keys)


def _is_looked_up(join: Any, told: Collection[str]) -> bool:
    """Whether *join* finds one row at the most for each row of a table that is *told* apart."""
    if not isinstance(join, Join) or join.parent_alias not in told or len(join.join_cols) != 1:
        return False
    ((_, column),) = join.join_cols
    return _has_key(join.table_name, {column})
