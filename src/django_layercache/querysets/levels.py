"""What the transactions of a connection see of the database: their isolation levels and snapshots."""

from enum import Enum
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache.querysets.databases import options_of
from django_layercache.stores.base import Token

__all__ = ["NOT_KNOWN", "Level", "Sight"]


#: The position before the first read of a transaction which the store did not tell.
NOT_KNOWN: Token = ""

#: By what the drivers are told how to begin a transaction, in psycopg's names and psycopg2's.
_DRIVERS_NAMES = ("isolation_level", "deferrable", "read_only", "readonly")


class Level(Enum):
    """How much two statements of one transaction see alike."""

    #: Each sees what is committed when it begins.
    STATEMENT = "statement"
    #: All see what was committed when the transaction began.
    SNAPSHOT = "snapshot"
    #: The same, and the database may have to know what was read.
    SERIALIZABLE = "serializable"


class Sight:
    """Of one connection: what its open transaction sees, and what those before it saw.

    ``level`` is that of the open transaction, ``None`` as long as nobody has asked. ``snapshot``
    is the position of the store's sequence before its first read (S0), or ``NOT_KNOWN``.
    """

    __slots__ = ("_asked_under", "_connection", "_usual", "_varies", "level", "snapshot")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        #: What the transactions of this connection do, once the server was asked.
        self._usual: Level | None = None
        #: What the driver had been told to do, at that time.
        self._asked_under: Any = None
        self._varies = False
        self.level: Level | None = None
        self.snapshot: Token | None = None

    @property
    def may_be_snapshot(self) -> bool:
        """Whether two reads of the open transaction see the same state of the database, or may do so."""
        level = self.level or (None if self._must_ask else self._usual)
        return level is not Level.STATEMENT

    @property
    def may_be_answered(self) -> bool:
        """Whether the open transaction reads a snapshot, and need not read all of it itself."""
        return self.level is not Level.STATEMENT and not self.must_be_seen

    @property
    def must_be_seen(self) -> bool:
        """Whether the database has to see what the open transaction reads."""
        if self.level is not Level.SERIALIZABLE:
            return False
        return options_of(self._connection.alias).get("serializable_hits") is not True

    def vary(self) -> None:
        """A statement has named an isolation level: each transaction has to be asked from now on."""
        self._varies, self.level = True, None

    def look(self) -> Level:
        """The level of the open transaction; asked again only where it may be another than before."""
        if self.level is None:
            if self._must_ask:
                self._usual = self._ask()
                self._asked_under = self._drivers_level()
            self.level = self._usual or Level.SERIALIZABLE
        return self.level

    def _ask(self) -> Level | None:
        level = _level_of(self._connection)
        # One that has read already has not waited for a safe snapshot, whatever it says by now.
        if level is Level.SERIALIZABLE and self.snapshot is None and _waits(self._connection):
            return Level.SNAPSHOT
        return level

    def forget_transaction(self) -> None:
        """It has ended, or has not begun."""
        self.level = self.snapshot = None

    def forget_connection(self) -> None:
        """The driver's connection has ended."""
        self.forget_transaction()
        self._usual, self._varies = None, False

    @property
    def _must_ask(self) -> bool:
        if self._usual is None or self._varies:
            return True
        return bool(self._drivers_level() != self._asked_under)

    def _drivers_level(self) -> Any:
        if self._connection.vendor != "postgresql":
            return None  # SQLite's driver calls its autocommit so
        driver = self._connection.connection
        return tuple(getattr(driver, name, None) for name in _DRIVERS_NAMES)


def _level_of(connection: BaseDatabaseWrapper) -> Level | None:
    """``None`` if the server does not say: the transaction is broken, and the next may not be."""
    if connection.vendor == "postgresql":
        return _postgresql_level(connection)
    if connection.vendor == "mysql":
        return _named(
            str(getattr(connection, "isolation_level", None) or "repeatable read").lower()
        )
    return Level.STATEMENT if connection.vendor == "oracle" else Level.SNAPSHOT


def _postgresql_level(connection: BaseDatabaseWrapper) -> Level | None:
    said = _shown(connection, "transaction_isolation")
    return None if said is None else _named(said)


def _waits(connection: BaseDatabaseWrapper) -> bool:
    """Whether a serializable transaction waits, at its first statement, for a snapshot that is always safe."""
    if connection.vendor != "postgresql":
        return False
    modes = ("transaction_deferrable", "transaction_read_only")
    return all(_shown(connection, mode) == "on" for mode in modes)


def _named(said: str) -> Level:
    if said.startswith("read "):  # committed, or uncommitted, which is the same
        return Level.STATEMENT
    return Level.SERIALIZABLE if said == "serializable" else Level.SNAPSHOT


def _shown(connection: BaseDatabaseWrapper, name: str) -> str | None:
    # Asked of the driver's connection: not a query of the application's, and not logged as one.
    # It takes no snapshot.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])
    except Exception:  # the caller's statement will say what is wrong
        return None
    finally:
        cursor.close()
