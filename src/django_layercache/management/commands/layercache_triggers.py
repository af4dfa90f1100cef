"""``manage.py layercache_triggers``: have PostgreSQL tell of what others write."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_layercache.management.common import plain_errors
from django_layercache.models import OutboxEntry
from django_layercache.querysets import policies
from django_layercache.querysets.by_hand import touch
from django_layercache.querysets.databases import is_primary
from django_layercache.querysets.outside.messages import tags_of_tables
from django_layercache.querysets.outside.relations import Relation, quoted, relations_of
from django_layercache.querysets.outside.triggers import (
    Installed,
    create,
    definition,
    drop,
    installed,
)
from django_layercache.querysets.watching import ours
from django_layercache.tags import table_name

__all__ = ["Command"]


class Command(BaseCommand):
    help = (
        "Installs, removes or shows the triggers by which a PostgreSQL database tells "
        "layercache_listen what other programs write."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["install", "remove", "show"])
        parser.add_argument(
            "models",
            nargs="*",
            help="'app.model', 'app.*', '*', or a table, with its schema where the search path does "
            "not have it. To remove or to show: all that are installed, if none is named.",
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=list(connections))

    def handle(self, *, action: str, models: list[str], database: str, **options: Any) -> None:
        connection = connections[database]
        if connection.vendor != "postgresql":
            raise CommandError(f"{database!r} is not a PostgreSQL database.")
        if action != "show" and not is_primary(database):
            raise CommandError(f"{database!r} is a replica: name its primary.")
        if action == "install" and not models:
            raise CommandError("Name what is written by others: 'app.model', 'app.*', or '*'.")
        with plain_errors():
            self._handle(connection, action, models)

    def _handle(self, connection: BaseDatabaseWrapper, action: str, models: list[str]) -> None:
        changed: set[str] = set()
        database = connection.alias
        with ours(), transaction.atomic(using=database), connection.cursor() as cursor:
            there = installed(cursor)
            if models:
                relations = list(dict.fromkeys(_relations(connection, models)))
            else:
                relations = list(_with_triggers(connection, there))
                if not there:
                    self.stderr.write("No table has triggers.")
            if action == "install":
                changed = self._install(cursor, relations, there)
            elif action == "show":
                self._show(relations, there)
            else:  # all of them: those whose table was dropped, too
                places = {relation.place for relation in relations}
                self._remove(cursor, [one for one in there if not models or one.place in places])
        # What was written before there were triggers, nobody has told of.
        touch(tags_of_tables(changed, connection), database)

    def _install(self, cursor: Any, relations: list[Relation], there: list[Installed]) -> set[str]:
        changed: set[str] = set()
        for relation in relations:
            is_new = create(cursor, definition(relation), there)
            if is_new:
                changed.update(relation.all_tables)
            self._say(relation.schema, relation.name, "installed" if is_new else "up to date")
        return changed

    def _remove(self, cursor: Any, chosen: list[Installed]) -> None:
        drop(cursor, chosen)
        for one in chosen:
            self._say(one.schema, one.name, "removed")

    def _show(self, relations: list[Relation], there: list[Installed]) -> None:
        digests = {one.place: one.digest if one.is_complete else "" for one in there}
        for relation in relations:
            digest = digests.get(relation.place)
            is_current = digest == definition(relation).digest
            state = "missing" if digest is None else "installed" if is_current else "outdated"
            self._say(relation.schema, relation.name, state)

    def _say(self, schema: str | None, name: str | None, state: str) -> None:
        self.stdout.write(
            f"{schema}.{name}: {state}" if name else f"(a table that is gone): {state}"
        )


def _relations(connection: BaseDatabaseWrapper, names: list[str]) -> Iterator[Relation]:
    for name in names:
        tables = _tables(connection, name)
        found = [one for table in tables for one in relations_of(connection, table)]
        if not found:
            raise CommandError(
                f"{name!r} is no model that has a table here, nor a table that a model reads. "
                "(A view can have no triggers: name the tables that it is made of.)"
            )
        yield from found


def _with_triggers(connection: BaseDatabaseWrapper, there: list[Installed]) -> Iterator[Relation]:
    """The tables that have triggers, with those that have been put below them since."""
    tables = [quoted(one.schema or "", one.name) for one in there if one.name]
    return iter(dict.fromkeys(one for table in tables for one in relations_of(connection, table)))


def _tables(connection: BaseDatabaseWrapper, name: str) -> list[str]:
    """What *name* stands for, quoted."""
    found = [model._meta.db_table for model in _models() if name.lower() in _names(model)]
    if found:
        return [connection.ops.quote_name(table) for table in found]
    is_read = policies.are_models({table_name(name.rpartition(".")[2])})
    return [name] if is_read else []


def _names(model: type[Model]) -> set[str]:
    return {"*", f"{model._meta.app_label}.*", model._meta.label_lower}


def _models() -> Iterator[type[Model]]:
    """Those that have tables; not the outbox, which only this library writes."""
    for model in apps.get_models(include_auto_created=True):
        if not model._meta.proxy and not model._meta.swapped and model is not OutboxEntry:
            yield model
