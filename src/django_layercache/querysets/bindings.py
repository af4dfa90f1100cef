"""Which rows and partitions a query is bound to: ``pk = 5``, ``post_id IN (1, 2, 3)``, at the top of its conditions."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, fields
from django.db.models.expressions import Col
from django.db.models.fields import related_lookups
from django.db.models.lookups import Exact, In, IntegerFieldExact, IsNull
from django.db.models.sql.datastructures import Join
from django.db.models.sql.query import Query
from django.db.models.sql.where import AND, WhereNode

from django_layercache.querysets.tables import table_of

__all__ = [
    "MOST_ROWS",
    "Binding",
    "bindings_of",
    "bound_rows",
    "bound_to",
    "conjuncts",
    "has_one_condition",
    "is_equality",
    "partition_keys",
    "row_key",
    "target_of",
]

#: The key of the partition of NULL. No value is spelt like this.
NULL = "!"

#: A query that names more rows than this depends on any row instead.
MOST_ROWS = 50

#: Characters of a textual key up to which it is readable in a tag.
LONGEST_TEXT = 24

_INTEGERS: tuple[type, ...] = (
    fields.AutoField, fields.BigAutoField, fields.SmallAutoField, fields.IntegerField,
    fields.BigIntegerField, fields.SmallIntegerField, fields.PositiveIntegerField,
    fields.PositiveBigIntegerField, fields.PositiveSmallIntegerField,
)  # fmt: skip
_TEXTS: tuple[type, ...] = (fields.CharField, fields.SlugField, fields.TextField)
_EXACT: tuple[type, ...] = (Exact, IntegerFieldExact, related_lookups.RelatedExact)
_IN: tuple[type, ...] = (In, related_lookups.RelatedIn)
_IS_NULL: tuple[type, ...] = (IsNull, related_lookups.RelatedIsNull)


@dataclass(frozen=True, slots=True)
class Binding:
    """A condition that every row of a result fulfils: *field*, in the table *alias*, is one of *keys*.

    *values* are what it is compared with: as many, or more that are spelt alike.
    """

    alias: str
    field: Any
    keys: tuple[str, ...]
    values: tuple[Any, ...] = ()


def bindings_of(query: Query, connection: BaseDatabaseWrapper) -> Iterator[Binding]:
    """What the conditions of *query* bind to constants.

    Only what every row must fulfil counts: constants compared with a column, joined to the rest
    by AND, of a type whose equality in the database is that of its spelling here.
    """
    if query.combinator or not query.alias_map:
        return
    found = list(_bound_by_conditions(query, connection))
    yield from found
    if found and len(query.alias_map) > 1:
        yield from _bound_by_joins(query, found)


def _bound_by_joins(query: Query, found: list[Binding]) -> Iterator[Binding]:
    """What is joined to something bound, by a column that makes partitions: the comments of post 5."""
    joins: dict[str, Any] = query.alias_map
    for alias, join in joins.items():
        if (
            not isinstance(join, Join)
            or len(join.join_cols) != 1
            or not query.alias_refcount[alias]
        ):
            continue
        ((parents_column, own_column),) = join.join_cols
        for field in table_of(join.table_name).partitions:
            for binding in found if field.column == own_column else ():
                if NULL in binding.keys:
                    continue  # which equals nothing
                is_joined = (binding.alias, binding.field.column) == (
                    join.parent_alias,
                    parents_column,
                )
                if is_joined and target_of(field) is target_of(binding.field):
                    found.append(Binding(alias, field, binding.keys))
                    yield found[-1]
                    break


def target_of(field: "Field[Any, Any]") -> Any:
    """What *field* refers to in the end, or itself."""
    while field.remote_field is not None:
        field = field.target_field  # type: ignore[attr-defined]
    return field


def _bound_by_conditions(query: Query, connection: BaseDatabaseWrapper) -> Iterator[Binding]:
    for condition in conjuncts(query.where):
        lhs = getattr(condition, "lhs", None)
        if type(lhs) is not Col or not _names_rows(lhs, query):
            continue
        values = _constants(condition)
        if _is_null(condition) and lhs.alias == query.base_table:
            values = [None]  # of a table that is joined it may be because nothing is
        if values is not None and len(values) <= MOST_ROWS:
            keys = partition_keys(lhs.target, values, connection)
            if keys is not None:
                yield Binding(lhs.alias, lhs.target, tuple(sorted(keys)), tuple(values))


def _is_null(condition: Any) -> bool:
    return type(condition) in _IS_NULL and condition.rhs is True


def _names_rows(column: Any, query: Query) -> bool:
    """Whether *column* is a primary key, or one by which its table is partitioned."""
    field = column.target
    if field.primary_key:
        return True
    table = query.alias_map[column.alias].table_name if column.alias in query.alias_map else ""
    return field in table_of(table).partitions


def bound_rows(query: Query, bindings: Iterable[Binding]) -> tuple[str, ...] | None:
    """The keys of the rows of the query's own table that its conditions allow; ``None`` if any."""
    binding = _of_primary_key(query, bindings)
    return None if binding is None else binding.keys


def bound_to(query: Query, bindings: Iterable[Binding]) -> tuple[Any, ...]:
    """The same, as values, each once; none if any."""
    binding = _of_primary_key(query, bindings)
    return () if binding is None else tuple(dict.fromkeys(binding.values))


def _of_primary_key(query: Query, bindings: Iterable[Binding]) -> Binding | None:
    pk = query.get_meta().pk
    return next(
        (
            binding
            for binding in bindings
            if binding.field is pk and binding.alias == query.base_table
        ),
        None,
    )


def partition_keys(
    field: Any, values: Iterable[Any], connection: BaseDatabaseWrapper
) -> set[str] | None:
    """How the *values* of *field* are spelt in tags; ``None`` if that is not known of one."""
    keys = {NULL if value is None else row_key(field, value, connection) for value in values}
    return None if None in keys else {key for key in keys if key is not None}


def row_key(field: "Field[Any, Any]", value: Any, connection: BaseDatabaseWrapper) -> str | None:
    """How the *value* of a key is spelt in a tag; ``None`` where equal rows could be spelt differently."""
    field = target_of(field)
    kind = type(field)
    if kind in _INTEGERS:
        return str(int(value)) if isinstance(value, int) else None
    if kind is fields.UUIDField:
        return value.hex if isinstance(value, UUID) else None
    if kind in _TEXTS and isinstance(value, str) and _compares_bytewise(field, connection):
        return _spelt_text(str.__str__(value))  # of an Enum: what the database gets
    return None


def _spelt_text(text: str) -> str:
    """*text*, or a digest of one that is long: it may be a secret, as a session's key is."""
    if len(text) <= LONGEST_TEXT:
        return quote(text, safe="")
    return "~" + hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _compares_bytewise(field: Any, connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor in {"sqlite", "postgresql"} and not field.db_collation


def is_equality(condition: Any) -> bool:
    """Whether *condition* says that its left side equals its right one."""
    return type(condition) in _EXACT and not getattr(condition, "bilateral_transforms", None)


def conjuncts(where: WhereNode) -> Iterable[Any]:
    """The conditions in *where* that every row of a result fulfils."""
    if where.negated or (where.connector != AND and len(where.children) > 1):
        return
    for child in where.children:
        if isinstance(child, WhereNode):
            yield from conjuncts(child)
        else:
            yield child


def has_one_condition(query: Query) -> bool:
    """Whether what is bound by *query* is bound by all that it asks for."""
    return query.count_active_tables() == 1 and len(list(conjuncts(query.where))) == 1


def _constants(condition: Any) -> list[Any] | None:
    """What *condition* compares its left side with, if that is a list of constants."""
    if getattr(condition, "bilateral_transforms", None):
        return None
    rhs = condition.rhs
    if type(condition) in _EXACT:
        values = [rhs]
    elif type(condition) in _IN and isinstance(rhs, (list, tuple, set, frozenset)):
        values = [value for value in rhs if value is not None]
    else:
        return None
    return None if any(hasattr(value, "resolve_expression") for value in values) else values
