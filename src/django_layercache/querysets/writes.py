"""The tags that a statement changes: of the ORM by its compiler, of raw SQL by its text."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.constants import OnConflict
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.subqueries import DeleteQuery, InsertQuery, UpdateQuery

from django_layercache import tags
from django_layercache.querysets.bindings import bound_rows
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.rawsql import Effect

__all__ = ["tags_of_effect", "tags_of_model", "tags_of_rows", "tags_of_write"]


def tags_of_write(compiler: SQLCompiler) -> set[str]:
    """What the INSERT, UPDATE or DELETE of *compiler* changes."""
    query, connection = compiler.query, compiler.connection
    database = state_of(connection).database
    table = query.get_meta().db_table
    if isinstance(query, InsertQuery):
        rows = _inserted_rows(query)
    elif isinstance(query, UpdateQuery):
        rows = None if _changes_key(query) else bound_rows(query, connection)
    elif isinstance(query, DeleteQuery):
        rows = bound_rows(query, connection)
    else:
        rows = None
    changed = set(tags_of_rows(database, table, rows))
    if isinstance(query, DeleteQuery) and query.model is not None:
        for cascaded in _cascades(query.model):
            changed.update(tags_of_rows(database, cascaded, None))
    return changed


def tags_of_rows(database: str, table: str, rows: Iterable[str] | None) -> Iterator[str]:
    """What a change of *rows* changes; of rows that nobody knows, if ``None``."""
    yield tags.any_row(database, table)
    if rows is None:
        yield tags.epoch(database, table)
    else:
        yield from (tags.row(database, table, row) for row in rows)


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
    if effect.writes is None:
        return {tags.database(database)}
    tables = set(effect.writes)
    for table in effect.deletes:
        for model in _models_of_table(table):
            tables.update(_cascades(model))
    return {tag for table in tables for tag in tags_of_rows(database, table, None)}


def _inserted_rows(query: InsertQuery) -> list[str] | None:
    """None of those that were there before; of an upsert, nobody knows which.

    A row that was not there has no reader that is bound to it: who looked for it in vain
    depends on any row.
    """
    return None if getattr(query, "on_conflict", None) is OnConflict.UPDATE else []


def _changes_key(query: UpdateQuery) -> bool:
    return any(field.primary_key for field, _, _ in query.values)  # type: ignore[attr-defined]


def _cascades(model: type[Model], seen: set[type[Model]] | None = None) -> Iterator[str]:
    """The tables that the database itself changes when it deletes rows of *model*."""
    seen = {model} if seen is None else seen
    relations: Any = model._meta.get_fields(include_hidden=True)
    for relation in relations:
        if not relation.auto_created or relation.concrete or not hasattr(relation, "on_delete"):
            continue
        action = getattr(relation.on_delete, "operation", None)  # Django 6.1: DB_CASCADE and others
        related: Any = relation.related_model
        if action is None or related in seen:
            continue
        seen.add(related)
        yield related._meta.db_table
        if action == "CASCADE":
            yield from _cascades(related, seen)


def _models_of_table(table: str) -> Iterator[type[Model]]:
    for model in apps.get_models(include_auto_created=True):
        if tags.table_name(model._meta.db_table) == table:
            yield model
