"""The outbox: tags of commits that happened while the store was away, in the changed database itself.

A transaction leaves them in its own database, so they are there exactly if it committed.
Every process that was in debt drains all of them before it trusts the store again.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DatabaseError, connections, router
from django.db.models import Count, Min

from django_layercache import tags
from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import get_engine
from django_layercache.querysets.connections import ConnectionState, state_of
from django_layercache.querysets.databases import is_primary
from django_layercache.querysets.watching import ours

__all__ = ["DatabaseOutbox", "Waiting", "leave", "put"]

logger = logging.getLogger("django_layercache.querysets")


def put(state: ConnectionState, changed: Iterable[str]) -> None:
    """Leave the tags *changed* in the outbox, inside the transaction that is open on the connection."""
    if not leave(state, changed) and get_engine().outages.not_left(state.connection.alias):
        # Once in an outage: a migration that is to make the table commits many times before.
        logger.error(
            "The store is away and there is no outbox in %r: other processes may serve what this "
            "commit changes until this one has told the store. Run 'manage.py migrate'.",
            state.connection.alias,
        )


def leave(state: ConnectionState, changed: Iterable[str]) -> bool:
    """:func:`put` them there, if there is an outbox."""
    if not _has_table(state):
        return False
    from django_layercache.models import OutboxEntry

    with ours():
        OutboxEntry.objects.using(state.connection.alias).create(tags=json.dumps(list(changed)))
    return True


def _has_table(state: ConnectionState) -> bool:
    if not state.has_outbox:
        from django_layercache.models import OutboxEntry

        with ours():
            names = state.connection.introspection.table_names()
        state.has_outbox = OutboxEntry._meta.db_table in names
    return state.has_outbox


class Waiting(NamedTuple):
    """How many commits are in an outbox, and when the first of them was; or why nobody knows (``error``)."""

    commits: int = 0
    since: datetime | None = None
    error: str = ""


class DatabaseOutbox:
    """The outboxes of all databases, or of *aliases*, as the engine sees them. Used from threads of its own only."""

    def __init__(self, aliases: Iterable[str] | None = None) -> None:
        self._aliases = connections if aliases is None else list(aliases)
        self._with_table: set[tuple[str, str]] = set()

    def drain(self, touch: Callable[[Iterable[str]], None]) -> None:
        self._each(self._drain_or_distrust, touch)

    def look(self, touch: Callable[[Iterable[str]], None]) -> bool:
        unread: list[str] = []

        def drain(alias: str, touch: Callable[[Iterable[str]], None]) -> None:
            # One database that is away must not keep the others' from being looked at.
            try:
                self._drain_one(alias, touch)
            except StoreUnavailable:
                raise
            except Exception:
                logger.debug("The outbox in %r cannot be looked into.", alias, exc_info=True)
                unread.append(alias)

        self._each(drain, touch)
        return not unread

    def place(self) -> str:
        return ".".join(sorted({_content(alias) for alias in self._places()}))

    def waiting(self) -> dict[str, Waiting | None]:
        """What is in the outbox of each database; ``None`` where it has no table for that."""
        found: dict[str, Waiting | None] = {}

        def count(alias: str, _: Any) -> None:
            try:
                found[alias] = self._waiting_in(alias) if self._has_table(alias) else None
            except DatabaseError as error:
                found[alias] = Waiting(error=str(error))

        self._each(count, lambda tags: None)
        return found

    def _waiting_in(self, alias: str) -> Waiting:
        from django_layercache.models import OutboxEntry

        with ours():
            entries = OutboxEntry.objects.using(alias)
            return Waiting(**entries.aggregate(commits=Count("pk"), since=Min("created")))

    def _each(
        self,
        drain: Callable[[str, Callable[[Iterable[str]], None]], None],
        touch: Callable[[Iterable[str]], None],
    ) -> None:
        try:
            for alias in self._places():
                drain(alias, touch)
        finally:
            _close_all()

    def _places(self) -> Iterator[str]:
        """The aliases of databases that may have an outbox."""
        from django_layercache.models import OutboxEntry

        for alias in self._aliases:
            if is_primary(alias) and router.allow_migrate_model(alias, OutboxEntry):
                yield alias

    def _drain_or_distrust(self, alias: str, touch: Callable[[Iterable[str]], None]) -> None:
        """One database that is away must not keep the others' entries from being trusted."""
        try:
            self._drain_one(alias, touch)
        except StoreUnavailable:
            raise
        except Exception as error:
            logger.warning(
                "The outbox in %r cannot be read; all that is cached of that database is rebuilt: %s",
                alias,
                error,
            )
            touch({tags.database(state_of(connections[alias]).database)})

    def _drain_one(self, alias: str, touch: Callable[[Iterable[str]], None]) -> None:
        from django_layercache.models import OutboxEntry

        if not self._has_table(alias):
            return
        with ours():
            entries = list(OutboxEntry.objects.using(alias).order_by("pk")[:1000])
            touch({tag for entry in entries for tag in json.loads(entry.tags)})
            if entries:
                done = [entry.pk for entry in entries]
                OutboxEntry.objects.using(alias).filter(pk__in=done).delete()
        if len(entries) == 1000:
            self._drain_one(alias, touch)

    def _has_table(self, alias: str) -> bool:
        state = state_of(connections[alias])
        place = (alias, state.database)
        if place not in self._with_table and _has_table(state):
            self._with_table.add(place)
        return place in self._with_table


def _content(alias: str) -> str:
    """What tells the database from others, whoever's tenant is served."""
    return state_of(connections[alias]).database.partition("@")[0]


def _close_all() -> None:
    """Close this thread's connections, also those to memory, which Django leaves open for the data's sake.

    Whoever has data there has a connection of its own; what is only dropped warns when it is collected.
    """
    connections.close_all()
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            connection.connection.close()
