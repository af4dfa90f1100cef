"""The tags that a statement changes: of the ORM by its compiler, of raw SQL by its text."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model
from django.db.models.constants import OnConflict
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.query import Query
from django.db.models.sql.subqueries import DeleteQuery, InsertQuery, UpdateQuery

from django_layercache import tags
from django_layercache.querysets import policies, triggered
from django_layercache.querysets.bindings import MOST_ROWS, bindings_of, bound_rows, partition_keys
from django_layercache.querysets.comparing import Difference
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.databases import Database
from django_layercache.querysets.rawsql import Effect
from django_layercache.querysets.tables import table_of

__all__ = [
    "tags_of_difference", "tags_of_effect", "tags_of_model", "tags_of_rows", "tags_of_write",
    "tags_that_follow",
]  # fmt: skip


#: An UPDATE of more columns than this is one of nobody knows which.
MOST_COLUMNS = 16

Known = Mapping[str, Iterable[str]]


def tags_of_write(compiler: SQLCompiler, *, is_triggered: bool) -> set[str]:
    """What the INSERT, UPDATE or DELETE of *compiler* changes; *is_triggered* if its table may have triggers."""
    query, connection = compiler.query, compiler.connection
    database = state_of(connection).database
    table = query.get_meta().db_table
    if policies.may_be_view(table):
        return {tags.database(database)}
    columns: Collection[str] | None = ()
    if isinstance(query, InsertQuery):
        rows, known = _inserted(query, connection)
        if rows is None:
            columns = None
    else:
        rows, known = _bound(query, connection)
        if isinstance(query, UpdateQuery):
            columns = None if is_triggered else _updated(query)
    if is_triggered and not isinstance(query, DeleteQuery):
        known = {}  # it may put the rows into other partitions
    changed = set(tags_of_rows(database, table, rows, known, columns))
    if isinstance(query, DeleteQuery) and query.model is not None:
        for cascaded in _cascades(query.model):
            changed.update(tags_of_rows(database, cascaded, None))
    return changed


def tags_of_rows(
    database: str,
    table: str,
    rows: Iterable[str] | None,
    known: Known | None = None,
    columns: Collection[str] | None = None,
) -> Iterator[str]:
    """What a change of *rows* changes; of rows that nobody knows, if ``None``.

    *known* are the partitions that they are and were in, by column, where that is known. *columns*
    are those in which rows get other values; if there are none, rows appear or go, and if it is
    ``None``, nobody knows.
    """
    described = table_of(table)
    yield tags.any_row(database, table)
    if rows is None:
        yield tags.epoch(database, table)
        yield from _more_of(database, table, tags.KEY, tags.UNKNOWN, columns)
    else:
        for row in rows:
            yield tags.row(database, table, row)
            yield from _more_of(database, table, tags.KEY, row, columns)
        if columns is None:
            if described.columns is None or len(described.columns) > MOST_COLUMNS:
                yield tags.which_rows_of(database, table, tags.KEY, tags.UNKNOWN)
            else:
                yield from (tags.column(database, table, one) for one in described.columns)
    if columns:
        yield from (tags.column(database, table, column) for column in columns)
    else:
        yield tags.which_rows(database, table)
    for field in described.partitions:
        name = str(field.column)
        keys = (known or {}).get(name)
        is_moved = columns and tags.table_name(name) in columns
        for key in (tags.UNKNOWN,) if keys is None else keys:
            yield tags.partition(database, table, name, key)
            yield from _more_of(database, table, name, key, None if is_moved else columns)


def _more_of(
    database: str, table: str, column: str, key: str, columns: Collection[str] | None
) -> Iterator[str]:
    """What changes in the partition *key* by *column*: its *columns*, or which rows there are."""
    if columns:
        yield from (tags.column_of(database, table, column, key, one) for one in columns)
    else:
        yield tags.which_rows_of(database, table, column, key)


def tags_of_difference(compiler: SQLCompiler, found: Difference | None) -> set[str] | None:
    """What the UPDATE of *compiler* has changed, if this is *found* to be different; ``None``: nobody knows better."""
    if found is None:
        return None
    connection, table = compiler.connection, compiler.query.get_meta().db_table
    database = state_of(connection).database
    changed: set[str] = set()
    if found.rows:
        columns = found.columns if len(found.columns) <= MOST_COLUMNS else None
        changed.update(tags_of_rows(database, table, found.rows, found.partitions, columns))
    if found.kept and connection.vendor == "postgresql":
        changed.add(tags.places(database, table))
    return changed


def tags_of_model(model: type[Model], database: str) -> set[str]:
    """What a change of unknown rows of *model* changes, its parents' tables included."""
    concrete = model._meta.concrete_model or model
    parents = [parent._meta.db_table for parent in concrete._meta.all_parents]
    return {
        tag
        for table in (concrete._meta.db_table, *parents)
        for tag in tags_of_rows(database, table, None)
    }


def tags_of_effect(effect: Effect, connection: BaseDatabaseWrapper) -> set[str]:
    """What a raw statement changes."""
    database = state_of(connection).database
    if effect.writes is None or any(map(policies.may_be_view, effect.writes)):
        return {tags.database(database), *_databases(effect, connection)}
    if effect.columns and not effect.deletes and len(effect.writes) == 1:
        (table,) = effect.writes
        is_triggered = triggered.may_be(table, connection)
        columns = None if is_triggered else _settable(table, effect.columns)
        return set(tags_of_rows(database, table, None, {}, columns))
    tables = set(effect.writes)
    for table in effect.deletes:
        for model in table_of(table).models:
            tables.update(_cascades(model))
    return {tag for table in tables for tag in tags_of_rows(database, table, None)}


def _databases(effect: Effect, connection: BaseDatabaseWrapper) -> Iterator[str]:
    """Databases that were not there before, or are no longer: another may have had the name."""
    for name in effect.databases:
        for content in Database(connection).contents_called(name):
            yield tags.database(content)


def tags_that_follow(changed: Collection[str], connection: BaseDatabaseWrapper) -> set[str]:
    """What the database itself changes when the tables in *changed* are written to: by triggers, and by cascades."""
    database = state_of(connection).database
    if tags.database(database) in changed:
        return set()
    triggered.learn(connection)
    following = triggered.following(
        tags.tables_in(changed), lambda table: _may_be_gone(changed, database, table), connection
    )
    if following is None:
        return {tags.database(database)}
    tables = set(following.writes)
    for table in following.deletes:
        for model in table_of(table).models:
            tables.update(_cascades(model))
    return {tag for table in tables for tag in tags_of_rows(database, table, None)}


def _may_be_gone(changed: Collection[str], database: str, table: str) -> bool:
    """Whether rows of *table* may be gone that were there before."""
    return tags.which_rows(database, table) in changed and (
        tags.epoch(database, table) in changed
        or any(tag.startswith(tags.row(database, table, "")) for tag in changed)
    )


def _inserted(
    query: InsertQuery, connection: BaseDatabaseWrapper
) -> tuple[Iterable[str] | None, Known]:
    """No rows that were there before, in the partitions of the new ones; of an upsert, nobody knows.

    A row that was not there has no reader that is bound to it: who looked for it in vain
    depends on any row.
    """
    if getattr(query, "on_conflict", None) is OnConflict.UPDATE:
        return None, {}
    own = set(query.get_meta().local_concrete_fields)
    fields = [field for field in table_of(query.get_meta().db_table).partitions if field in own]
    found = {str(field.column): _keys_of(field, query.objs, connection) for field in fields}
    return [], {column: keys for column, keys in found.items() if keys is not None}


def _keys_of(
    field: Any, instances: Iterable[Any], connection: BaseDatabaseWrapper
) -> set[str] | None:
    """The partitions that *instances* are put into; ``None`` if one of them cannot be told."""
    if type(field).pre_save is not Field.pre_save:
        return None  # a field of somebody's own that will yet say it
    try:
        values = {getattr(instance, field.attname, None) for instance in instances}
        if len(values) > MOST_ROWS or any(hasattr(value, "resolve_expression") for value in values):
            return None  # too many, or the database computes one
        return partition_keys(field, map(field.get_prep_value, values), connection)
    except Exception:  # what is wrong with one, the statement itself will raise
        return None


def _bound(
    query: Query, connection: BaseDatabaseWrapper
) -> tuple[Iterable[str] | None, dict[str, tuple[str, ...]]]:
    """The rows and the partitions that an UPDATE or a DELETE is bound to, and leaves them in."""
    bindings = list(bindings_of(query, connection))
    changed = _columns_set(query) if isinstance(query, UpdateQuery) else set()
    rows = bound_rows(query, bindings)
    if rows is not None and not changed.isdisjoint(_key_columns(query)):
        rows = None
    return rows, {
        binding.field.column: binding.keys
        for binding in bindings
        if binding.alias == query.base_table
        and tags.table_name(binding.field.column) not in changed
    }


def _updated(query: UpdateQuery) -> Collection[str] | None:
    """The columns to which an UPDATE gives other values; ``None`` if it may do more."""
    return _settable(query.get_meta().db_table, _columns_set(query))


def _columns_set(query: UpdateQuery) -> set[str]:
    """The columns that an UPDATE sets. Of a field that has none, the statement itself will say so."""
    fields = [field for field, _, _ in query.values]  # type: ignore[attr-defined]
    return {tags.table_name(field.column) for field in fields if field.column is not None}


def _settable(table: str, columns: AbstractSet[str]) -> Collection[str] | None:
    """*columns*, and what the database computes from them; ``None`` if they are more than that, or many."""
    known = table_of(table)
    if known.columns is None or not columns <= known.columns:
        return None
    columns = columns | known.generated
    return columns if len(columns) <= MOST_COLUMNS else None


def _key_columns(query: Query) -> set[str]:
    return {tags.table_name(str(field.column)) for field in query.get_meta().pk_fields}


def _cascades(model: type[Model], seen: set[type[Model]] | None = None) -> Iterator[str]:
    """The tables that the database itself changes when it deletes rows of *model*; its own may be one."""
    seen = set() if seen is None else seen
    relations: Any = model._meta.get_fields(include_hidden=True)
    for relation in relations:
        if not relation.auto_created or relation.concrete or not hasattr(relation, "on_delete"):
            continue
        action = getattr(relation.on_delete, "operation", None)  # Django 6.1: DB_CASCADE and others
        related: Any = relation.related_model
        if action is None:
            continue
        yield related._meta.db_table
        if action == "CASCADE" and related not in seen:
            seen.add(related)
            yield from _cascades(related, seen)
