"""What the transactions that this thread has open allow to be read from the store."""

from collections.abc import Mapping

from django.db import connections

from django_layercache import tags
from django_layercache.engine import is_not_after
from django_layercache.querysets.connections import ConnectionState, state_of
from django_layercache.querysets.levels import Level
from django_layercache.stores.base import TokenState

__all__ = ["TransactionIsolation", "current_isolation"]


class TransactionIsolation:
    """See :class:`django_layercache.engine.Isolation`."""

    __slots__ = ("_states",)

    def __init__(self, states: list[ConnectionState]) -> None:
        self._states = states

    @property
    def has_written(self) -> bool:
        return any(state.dirty for state in self._states)

    def objection(self, states: Mapping[str, TokenState]) -> str | None:
        for state in self._states:
            changed = (state.dirty | state.inserted).intersection(states)
            if changed:
                return f"changed in this transaction: {', '.join(tags.readable(changed))}"
            if state.sight.level is Level.SERIALIZABLE:
                # The database has to see what is read, or it cannot tell that two transactions
                # could not have run one after the other.
                return "a serializable transaction reads for itself"
            if state.sight.may_be_snapshot and state.in_transaction:
                why = _newer_than_snapshot(state, states)
                if why is not None:
                    return why
        return None


def _newer_than_snapshot(state: ConnectionState, states: Mapping[str, TokenState]) -> str | None:
    """The snapshot rule: what was changed after the snapshot is not what the snapshot holds."""
    database, snapshot = state.database, state.sight.snapshot
    for tag, token in states.items():
        if token is None or not tags.is_of_database(tag, database):
            continue
        if snapshot is None:
            return "the transaction has no snapshot yet"
        if not is_not_after(token, snapshot):
            return f"newer than the transaction's snapshot: {', '.join(tags.readable([tag]))}"
    return None


def current_isolation() -> TransactionIsolation | None:
    """For the engine: ``None`` where no transaction is open in this thread."""
    states = [
        state_of(connection)
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None
    ]
    open_ones = [state for state in states if state.in_transaction]
    return TransactionIsolation(open_ones) if open_ones else None
