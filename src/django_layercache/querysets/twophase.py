"""Commits in two phases: by ``PREPARE TRANSACTION``, or by the methods that psycopg has for them.

What is prepared is committed later, by anybody, or never. Until then nothing has changed, so nothing
is marked before the second phase. If that comes on the connection of the first, it is known what it
changes; any other may change anything. If no process with Django in it hears of that one, the outbox
tells: the tags are left there inside the prepared transaction, and are found once it is committed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache.handlers import get_engine
from django_layercache.querysets import outbox, transactions
from django_layercache.querysets.connections import ConnectionState, state_of
from django_layercache.querysets.effects import ANYTHING
from django_layercache.querysets.writes import tags_of_effect

__all__ = ["commit", "know", "leave_tags", "prepare", "roll_back"]

_connections: WeakKeyDictionary[Any, ReferenceType[BaseDatabaseWrapper]] = WeakKeyDictionary()


def know(connection: BaseDatabaseWrapper) -> None:
    """Whose the driver's connection is that *connection* has opened."""
    _connections[connection.connection] = ref(connection)


def leave_tags(state: ConnectionState) -> None:
    """Before the first phase: what it changes goes in the outbox."""
    # One that has failed is going to be rolled back instead.
    if state.dirty and transactions.is_sound(state.connection):
        state.follow_engine()
        if not get_engine().store.in_process:
            outbox.leave(state, sorted(state.dirty))


# -- psycopg's methods -----------------------------------------------------------------------------


def prepare(run: Callable[..., Any], driver: Any) -> Any:
    """``tpc_prepare()``, the first phase."""
    connection = _connection_of(driver)
    if connection is not None:
        leave_tags(state_of(connection))
    return run(driver)


def commit(run: Callable[..., Any], driver: Any, xid: Any = None) -> Any:
    """``tpc_commit()``: the second phase, or the only one. With an *xid*, of a transaction of anybody's."""
    connection = _connection_of(driver)
    around: AbstractContextManager[None] = nullcontext()
    if connection is not None and xid is None:
        is_prepared = not transactions.is_open(connection)
        around = transactions.committing(connection, is_prepared=is_prepared)
    elif connection is not None:
        around = transactions.at_once(connection, tags_of_effect(ANYTHING, connection))
    with around:
        return run(driver, xid)


def roll_back(run: Callable[..., Any], driver: Any, xid: Any = None) -> Any:
    """``tpc_rollback()``."""
    connection = _connection_of(driver)
    if connection is None or xid is not None:
        return run(driver, xid)
    with transactions.rolling_back(connection):
        return run(driver)


def _connection_of(driver: Any) -> BaseDatabaseWrapper | None:
    """Django's connection, if the driver's is in it."""
    found = _connections.get(driver)
    connection = None if found is None else found()
    is_it = connection is not None and connection.connection is driver
    return connection if is_it else None
