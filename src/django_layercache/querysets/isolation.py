"""What the transactions that a reader has open allow to be read from the store.

Those are the ones of its thread, and the ones of its context: a coroutine's statements run in
another thread than it does itself, and the connections are there. ``async_to_sync`` and
``sync_to_async`` carry the context back and forth.
"""

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from weakref import ReferenceType, ref

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import tags
from django_layercache.engine import is_not_after
from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import get_engine
from django_layercache.querysets.connections import ConnectionState, state_of
from django_layercache.querysets.levels import NOT_KNOWN, Level
from django_layercache.stores.base import TokenState

__all__ = [
    "TransactionIsolation",
    "current_isolation",
    "has_begun",
    "has_imported",
    "sees_snapshot",
    "take_snapshot",
]

#: Statements with which a transaction's snapshot begins. (SQLite has to read a page for that.)
_BEGINNINGS = {"postgresql": "SELECT 1", "sqlite": "SELECT 1 FROM sqlite_master LIMIT 1"}

#: The connections that have begun a transaction in this context, and which of theirs that was.
_begun: ContextVar[tuple[tuple[ReferenceType[ConnectionState], int], ...]] = ContextVar(
    "layercache_transactions", default=()
)


def has_begun(state: ConnectionState) -> None:
    """A transaction: whoever shares this context is in it from now on."""
    others = [(ref(other), other.ended) for other in _of_context() if other is not state]
    _begun.set((*others, (ref(state), state.ended)))


def _of_context() -> Iterator[ConnectionState]:
    for reference, ended in _begun.get():
        state = reference()
        if state is not None and state.ended == ended and state.in_transaction:
            yield state


def take_snapshot(state: ConnectionState) -> None:
    """Before a transaction's first statement: remember S0, if it is going to read a snapshot."""
    sight = state.sight
    if sight.level is None:
        has_begun(state)
    if sight.look() is not Level.STATEMENT and sight.snapshot is None:
        try:
            sight.snapshot = get_engine().store.read(None, ()).sequence
        except StoreUnavailable:
            get_engine().outages.owe()
            sight.snapshot = NOT_KNOWN  # for good: the store may be back before the snapshot ends


def has_imported(state: ConnectionState) -> None:
    """A transaction has the snapshot of another one: of when that is, nobody knows."""
    take_snapshot(state)
    state.sight.snapshot = NOT_KNOWN


def _begin_to_see(state: ConnectionState) -> None:
    """Before the store is asked: a transaction that has not read yet may be answered, too.

    It is known what it is going to see, and if that is a snapshot, it has it: what is fetched
    from the store afterwards can be compared with that.
    """
    beginning = _BEGINNINGS.get(state.connection.vendor)
    if state.sight.level is not None or state.connection.needs_rollback or beginning is None:
        return
    take_snapshot(state)
    if state.sight.may_be_answered and state.sight.snapshot:
        # Of the driver's connection: not a query of the application's, and not logged as one.
        cursor = state.connection.connection.cursor()
        try:
            cursor.execute(beginning)
            cursor.fetchone()
        except Exception:  # the caller's statement will say what is wrong
            state.sight.snapshot = NOT_KNOWN
        finally:
            cursor.close()


class TransactionIsolation:
    """See :class:`django_layercache.engine.Isolation`."""

    __slots__ = ("_states",)

    def __init__(self, states: list[ConnectionState]) -> None:
        self._states = states

    @property
    def has_written(self) -> bool:
        return any(state.dirty or state.underway for state in self._states)

    def objection(self, states: Mapping[str, TokenState]) -> str | None:
        for state in self._states:
            if state.underway:
                return "a statement is changing something in this transaction"
            changed = (state.dirty | state.inserted).intersection(states)
            if changed:
                return f"changed in this transaction: {', '.join(tags.readable(changed))}"
            if state.sight.may_be_snapshot and state.in_transaction:
                why = _newer_than_snapshot(state, states)
                if why is not None:
                    return why
        return None

    def must_read(self, states: Mapping[str, TokenState]) -> str | None:
        # The database has to see what is read, or it cannot tell that two transactions could not
        # have run one after the other.
        for state in self._states:
            if state.sight.must_be_seen and any(
                tags.is_of_database(tag, state.database) for tag in states
            ):
                return "a serializable transaction reads for itself"
        return None


def _newer_than_snapshot(state: ConnectionState, states: Mapping[str, TokenState]) -> str | None:
    """The snapshot rule: what was changed after the snapshot is not what the snapshot holds."""
    database, snapshot = state.database, state.sight.snapshot
    if state.primary is not None:
        # What its snapshot holds has been committed before S0, and nobody knows how long before.
        snapshot = None
    for tag, token in states.items():
        if token is None or not tags.is_of_database(tag, database):
            continue
        if not snapshot:
            return "nobody knows since when the transaction has had its snapshot"
        if not is_not_after(token, snapshot):
            return f"newer than the transaction's snapshot: {', '.join(tags.readable([tag]))}"
    return None


def current_isolation() -> TransactionIsolation | None:
    """For the engine: ``None`` where no transaction is open in this thread and context."""
    found = {state for state in map(state_of, _connected()) if state.in_transaction}
    for state in found:
        _begin_to_see(state)
    found.update(_of_context())
    return TransactionIsolation(list(found)) if found else None


def sees_snapshot() -> bool:
    """Whether a transaction of this thread or context may see an older state than the store's."""
    states = (*map(state_of, _connected()), *_of_context())
    return any(state.in_transaction and state.sight.may_be_snapshot for state in states)


def _connected() -> Iterator[BaseDatabaseWrapper]:
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            yield connection
