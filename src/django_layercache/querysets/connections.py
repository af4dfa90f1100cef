"""What we know of each database connection: its content, its transaction, what that has changed."""

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import tags
from django_layercache.engine import Write, is_not_after
from django_layercache.handlers import get_engine
from django_layercache.stores.base import Token, TokenState

__all__ = ["ConnectionState", "TransactionIsolation", "current_isolation", "state_of"]

#: A transaction that changes more than this changes tables, not rows.
MOST_TAGS = 1000

_ATTRIBUTE = "_layercache"
_PROCESS = secrets.token_hex(8)


class ConnectionState:
    """Beside each connection object of Django's, for as long as that lives.

    ``write`` collects what the open transaction changes. ``snapshot`` is the position of the
    store's sequence before the transaction's first read (S0), where the transaction reads
    from a snapshot.
    """

    __slots__ = (
        "_asked_under", "_database", "_place", "_private", "connection", "has_outbox", "inserted",
        "is_serializable", "isolation_varies", "means_otherwise", "raw_transaction", "reads_snapshot",
        "snapshot", "usually_is_serializable", "usually_reads_snapshot", "write",
    )  # fmt: skip

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.has_outbox = False
        #: What the transactions of this connection do, once the server was asked.
        self.usually_reads_snapshot: bool | None = None
        self.usually_is_serializable = False
        #: What the driver had been told to do, at that time.
        self._asked_under: Any = None
        #: A statement has named an isolation level: each transaction has to be asked.
        self.isolation_varies = False
        #: A statement has changed what the same SQL means here: the search path, the role, or
        #: something that policies of rows may look at.
        self.means_otherwise = False
        self.is_serializable = False
        self._private = secrets.token_hex(8)
        self._place: tuple[Any, ...] = ()
        self._database = ""
        self.write: Write | None = None
        #: The epochs of the tables into which the open transaction has inserted. That is no
        #: change of any row that others know, but its own reads find rows that only it has.
        self.inserted: set[str] = set()
        self.snapshot: Token | None = None
        self.reads_snapshot: bool | None = None
        self.raw_transaction = False

    # -- the database ---------------------------------------------------------------------

    @property
    def database(self) -> str:
        """Eight digits for the database's content: the same for two aliases of one database."""
        said = self.connection.settings_dict
        place = (said["NAME"], said.get("HOST"), said.get("PORT"))
        if place != self._place:
            identity = (self.connection.vendor, *map(str, place), *self._lifetime(str(place[0])))
            self._database = hashlib.blake2b(repr(identity).encode(), digest_size=4).hexdigest()
            self._place = place
        return self._database

    def _lifetime(self, name: str) -> tuple[str, ...]:
        """What an in-memory database dies with, before another one takes its name."""
        if self.connection.vendor != "sqlite":
            return ()
        if name == ":memory:":
            return (self._private,)
        return (_PROCESS, str(os.getpid())) if "mode=memory" in name else ()

    @property
    def session(self) -> str:
        """What decides, beside the database's content, what a statement returns here.

        The time zone in which it shows times, the user whose rows it may see, the schemas that
        it looks for tables in.
        """
        connection, said = self.connection, self.connection.settings_dict
        return repr(
            (said.get("USER"), said.get("OPTIONS"), connection.timezone_name, settings.USE_TZ)
        )

    # -- its transaction ------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether a statement that runs now is committed by a later COMMIT."""
        connection = self.connection
        if connection.connection is None:
            return False
        return connection.in_atomic_block or not connection.autocommit or self.raw_transaction

    @property
    def dirty(self) -> set[str]:
        """The tags that the open transaction changes."""
        return self.write.dirty if self.write is not None else set()

    def follow_engine(self) -> None:
        """The settings named another store while the transaction was open: write to that one."""
        engine = get_engine()
        if self.write is not None and not self.write.is_for(engine.store):
            changed, self.write = self.write.dirty, engine.new_write()
            self.write.touch(changed)

    @property
    def must_be_asked(self) -> bool:
        """Whether the isolation of the open transaction may be another than that of those before."""
        if self.usually_reads_snapshot is None or self.isolation_varies:
            return True
        return bool(self._drivers_level() != self._asked_under)

    def learn(self, *, reads_snapshot: bool, is_serializable: bool) -> None:
        """What the open transaction does, and those after it until something else is said."""
        self.usually_reads_snapshot = reads_snapshot
        self.usually_is_serializable = is_serializable
        self._asked_under = self._drivers_level()

    def _drivers_level(self) -> Any:
        if self.connection.vendor != "postgresql":
            return None  # SQLite's driver calls its autocommit so
        return getattr(self.connection.connection, "isolation_level", None)

    @property
    def may_read_snapshot(self) -> bool:
        """Whether two reads of the open transaction see the same state of the database, or may do so."""
        if self.reads_snapshot is not None:
            return self.reads_snapshot
        return self.must_be_asked or self.usually_reads_snapshot is not False

    def touch(self, changed: Iterable[str]) -> None:
        """The open transaction changes *changed*."""
        if self.write is None:
            self.write = get_engine().new_write()
        self.write.touch(changed)
        if len(self.write.dirty) > MOST_TAGS:
            self.write.dirty = tags.collapsed(self.write.dirty)

    def forget_connection(self) -> None:
        """The driver's connection has ended."""
        self.forget_transaction()
        self.usually_reads_snapshot = None
        self.isolation_varies = False
        self.means_otherwise = False

    def forget_transaction(self) -> None:
        """It has ended, or has not begun."""
        self.write = None
        self.inserted = set()
        self.snapshot = None
        self.reads_snapshot = None
        self.is_serializable = False
        self.raw_transaction = False


def state_of(connection: BaseDatabaseWrapper) -> ConnectionState:
    """The state beside *connection*."""
    try:
        return cast(ConnectionState, connection.__dict__[_ATTRIBUTE])
    except KeyError:
        state = connection.__dict__[_ATTRIBUTE] = ConnectionState(connection)
        return state


class TransactionIsolation:
    """What the transactions that this thread has open allow to be read from the store."""

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
            if state.is_serializable:
                # The database has to see what is read, or it cannot tell that two transactions
                # could not have run one after the other.
                return "a serializable transaction reads for itself"
            if state.may_read_snapshot and state.in_transaction:
                why = _newer_than_snapshot(state, states)
                if why is not None:
                    return why
        return None


def _newer_than_snapshot(state: ConnectionState, states: Mapping[str, TokenState]) -> str | None:
    """The snapshot rule: what was changed after the snapshot is not what the snapshot holds."""
    database = state.database
    for tag, token in states.items():
        if token is None or not tags.is_of_database(tag, database):
            continue
        if state.snapshot is None:
            return "the transaction has no snapshot yet"
        if not is_not_after(token, state.snapshot):
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
