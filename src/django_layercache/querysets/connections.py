"""What we know of each database connection: its database, its transaction, what that has changed."""

from collections.abc import Iterable
from typing import cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import tags, tenants
from django_layercache.engine import Write
from django_layercache.handlers import get_engine
from django_layercache.querysets.databases import Database
from django_layercache.querysets.levels import Sight

__all__ = ["ConnectionState", "state_of"]

#: A transaction that changes more than this changes tables, not rows.
MOST_TAGS = 1000

_ATTRIBUTE = "_layercache"


class ConnectionState:
    """Beside each connection object of Django's, for as long as that lives.

    ``write`` collects what the open transaction changes, ``sight`` knows what it sees.
    """

    __slots__ = (
        "__weakref__", "_database", "begun_by", "connection", "ended", "has_outbox", "inserted",
        "raw_transaction", "replayed", "role_changed", "savepoints", "schema_changed", "sight",
        "touches", "underway", "write",
    )  # fmt: skip

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._database = Database(connection)
        self.has_outbox = False
        self.sight = Sight(connection)
        #: A statement has changed what the same SQL means here: the role, or something that
        #: policies of rows may look at.
        self.role_changed = False
        #: It has chosen a schema, which is the tenant's business where there is one.
        self.schema_changed = False
        self.write: Write | None = None
        #: How many statements have changed something, to tell one from the next.
        self.touches = 0
        #: How many are running of which it will be known afterwards what they have changed.
        self.underway = 0
        #: The epochs of the tables into which the open transaction has inserted. That is no
        #: change of any row that others know, but its own reads find rows that only it has.
        self.inserted: set[str] = set()
        #: For each savepoint of the open transaction: what was dirty and inserted before it.
        self.savepoints: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self.raw_transaction = False
        #: The names of the savepoints of SQLite of which the first has begun the open transaction.
        self.begun_by: list[str] = []
        #: Of a replica: up to where it has been seen to have replayed the primary's log.
        self.replayed: float = -1
        #: How many transactions have, to tell one from the next.
        self.ended = 0

    @property
    def database(self) -> str:
        """See :attr:`Database.content`; a replica's is that of its primary. And the tenant, if there is one."""
        primary, tenant = self._declared_primary, tenants.current()
        content = (self if primary is None else primary)._database.content
        return f"{content}@{tenant}" if tenant else content

    @property
    def means_otherwise(self) -> bool:
        """Whether nobody knows what the same SQL means here."""
        return self.role_changed or (self.schema_changed and not tenants.current())

    @property
    def primary(self) -> "ConnectionState | None":
        """The one that this is a replica of, if the two are not the same database (as in tests)."""
        primary = self._declared_primary
        if primary is None or primary._database.content == self._database.content:
            return None
        return primary

    @property
    def _declared_primary(self) -> "ConnectionState | None":
        alias = self._database.primary
        return None if alias is None else state_of(connections[alias])

    @property
    def session(self) -> str:
        """See :attr:`Database.session`."""
        return self._database.session

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
            self.write.dirty = changed

    def touch(self, changed: Iterable[str]) -> set[str]:
        """The open transaction changes *changed*; returns what :meth:`untouch` may be given."""
        if self.write is None:
            self.write = get_engine().new_write()
        self.touches += 1
        added = self.write.touch(changed)
        if len(self.write.dirty) > MOST_TAGS:
            self.write.dirty = tags.collapsed(self.write.dirty)
            return set()
        return added

    def untouch(self, added: set[str], touches: int) -> None:
        """The statement that *added* these has changed nothing, unless another came after *touches*."""
        if self.write is not None and self.touches == touches:
            self.write.dirty -= added

    def remember_savepoint(self, sid: str) -> None:
        """The savepoint *sid* was made."""
        self.savepoints[sid] = (frozenset(self.dirty), frozenset(self.inserted))

    def return_to_savepoint(self, sid: str) -> None:
        """What was changed since *sid* was made was not. It may be returned to again."""
        if sid in self.savepoints:
            dirty, inserted = self.savepoints[sid]
            self.inserted = set(inserted)
            if self.write is not None:
                self.write.dirty = set(dirty)

    def forget_connection(self) -> None:
        """The driver's connection has ended."""
        self.forget_transaction()
        self.sight.forget_connection()
        self.role_changed = self.schema_changed = False
        self.replayed = -1

    def forget_transaction(self) -> None:
        """It has ended, or has not begun."""
        self.ended += 1
        self.write = None
        self.inserted = set()
        self.savepoints = {}
        self.begun_by = []
        self.raw_transaction = False
        self.sight.forget_transaction()


def state_of(connection: BaseDatabaseWrapper) -> ConnectionState:
    """The state beside *connection*."""
    try:
        return cast(ConnectionState, connection.__dict__[_ATTRIBUTE])
    except KeyError:
        state = connection.__dict__[_ATTRIBUTE] = ConnectionState(connection)
        return state
