"""``depends_on``, ``invalidate`` and ``no_cache``: what only the user knows."""

from collections.abc import Iterable
from contextlib import ContextDecorator, ExitStack
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from django_layercache import tags
from django_layercache.engine import current_scope, without_cache
from django_layercache.exceptions import InvalidArgument
from django_layercache.handlers import get_engine
from django_layercache.querysets.bindings import row_key
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.transactions import at_once
from django_layercache.querysets.writes import tags_of_model, tags_of_rows

__all__ = [
    "adepends_on",
    "ainvalidate",
    "depends_on",
    "invalidate",
    "no_cache",
    "tags_to_read",
    "touch",
]

Thing = str | type[Model] | Model


def depends_on(*things: Thing, using: str | None = None) -> None:
    """What is being built depends on *things*: names, models, or instances.

    Call it *before* reading what they stand for. Outside of anything that is being built it
    does nothing. *using* is the database alias that models are read from, by default the one
    that the router says.
    """
    if current_scope() is None:
        _check(things)
        return
    get_engine().observe([tag for thing in things for tag in tags_to_read(thing, using)])


async def adepends_on(*things: Thing, using: str | None = None) -> None:
    """:func:`depends_on` for async code."""
    if current_scope() is None:
        _check(things)
        return
    await get_engine().aobserve([tag for thing in things for tag in tags_to_read(thing, using)])


def invalidate(*things: Thing, using: str | None = None) -> None:
    """Everything that depends on *things* (names, models, instances) is rebuilt when next asked for.

    Inside a transaction it takes effect at its COMMIT, and not at all if it rolls back.
    """
    touch({tag for thing in things for tag in _write_tags(thing, using)}, using)


async def ainvalidate(*things: Thing, using: str | None = None) -> None:
    """:func:`invalidate` for async code, in the thread of its database connections."""
    await sync_to_async(invalidate, thread_sensitive=True)(*things, using=using)


def touch(changed: Iterable[str], using: str | None = None) -> None:
    """Change the tags *changed*, with the open transaction if there is one.

    Without *using*, with every transaction that this thread has open: nobody knows which of
    them holds the reason.
    """
    changed = set(changed)
    if using is not None:
        concerned = [connections[using]]
    else:
        concerned = [
            connection
            for connection in connections.all(initialized_only=True)
            if state_of(connection).in_transaction
        ]
    if not concerned:
        concerned = [_connection_with_outbox()]
    for connection in concerned:
        state = state_of(connection)
        if state.in_transaction:
            state.touch(changed)
        else:
            with at_once(connection, changed):
                pass


def _connection_with_outbox() -> BaseDatabaseWrapper:
    """Where others are told, if the store is away: this process may have ended before it is back."""
    from django_layercache.models import OutboxEntry

    return connections[router.db_for_write(OutboxEntry)]


class no_cache(ContextDecorator):  # noqa: N801 - it is used as a function
    """What is being built must not be stored, nor what encloses it.

    The call alone says that. As a context manager or a decorator it also makes everything
    inside bypass every cache: nothing is answered from the store, and nothing is stored.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        _forbid()

    def _recreate_cm(self) -> "no_cache":
        return no_cache()

    def __enter__(self) -> None:
        _forbid()
        self._stack.enter_context(without_cache())

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def _forbid() -> None:
    scope = current_scope()
    if scope is not None:
        scope.forbid("no_cache()")


def _check(things: Iterable[Any]) -> None:
    for thing in things:
        _kind(thing)


def _kind(thing: Any) -> str:
    if isinstance(thing, str) and thing:
        return "name"
    if isinstance(thing, type) and issubclass(thing, Model) and not thing._meta.abstract:
        return "model"
    if isinstance(thing, Model):
        if thing.pk is None:
            raise InvalidArgument(
                f"{thing!r} has no primary key yet: save it first, or name its model."
            )
        return "instance"
    if isinstance(thing, QuerySet):  # to show it would be to evaluate it
        raise InvalidArgument(
            "A queryset is neither a name nor a model: name its model, or its instances."
        )
    raise InvalidArgument(f"{thing!r} is neither a name, nor a model, nor an instance of one.")


def tags_to_read(thing: Thing, using: str | None = None) -> list[str]:
    """The tags that whatever reads *thing* depends on."""
    kind = _kind(thing)
    if kind == "name":
        return [tags.named(str(thing))]
    alias = using or _state_db(thing) or router.db_for_read(_model(thing))
    database = state_of(connections[alias]).database
    result = [tags.database(database)]
    for table, row in _rows(thing, alias):
        if row is None:
            result.append(tags.any_row(database, table))
        else:
            result += [tags.epoch(database, table), tags.row(database, table, row)]
    return result


def _write_tags(thing: Thing, using: str | None) -> set[str]:
    kind = _kind(thing)
    if kind == "name":
        return {tags.named(str(thing))}
    alias = using or _state_db(thing) or router.db_for_write(_model(thing))
    database = state_of(connections[alias]).database
    if kind == "model":
        return tags_of_model(_model(thing), database)
    return {
        tag
        for table, row in _rows(thing, alias)
        for tag in tags_of_rows(database, table, None if row is None else [row])
    }


def _model(thing: Any) -> type[Model]:
    return thing if isinstance(thing, type) else type(thing)


def _state_db(thing: Any) -> str | None:
    """The alias that an instance was read from or saved to."""
    return thing._state.db if isinstance(thing, Model) else None


def _rows(thing: Any, alias: str) -> list[tuple[str, str | None]]:
    """The tables in which *thing* stands, with its row in each; ``None`` where that cannot be spelt."""
    meta = thing._meta.concrete_model._meta
    rows = []
    for options in (meta, *(parent._meta for parent in meta.all_parents)):
        key = None
        if not isinstance(thing, type):
            value = getattr(thing, options.pk.attname, None)
            key = row_key(options.pk, options.pk.get_prep_value(value), connections[alias])
        rows.append((options.db_table, key))
    return rows
