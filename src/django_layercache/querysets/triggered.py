"""Which tables have triggers of their own: an UPDATE of one may change more columns than it names.

A trigger that changes *other* tables is not noticed; see ``docs/explanation/promise.md``. But the
columns of the row itself (a time of the last change, a search vector) are kept by triggers so often
that a write to such a table is one of nobody knows which columns. So is one to a table with a column that the
database computes, and that no model knows.
"""

import threading
import time
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache.querysets.connections import state_of
from django_layercache.querysets.tables import table_of
from django_layercache.tags import table_name

__all__ = ["forget", "learn", "may_be"]

#: For how many seconds an answer holds: somebody else may create a trigger.
KEPT = 60.0

_QUERIES = {
    "sqlite": """
        SELECT tbl_name, NULL FROM sqlite_master WHERE type = 'trigger'
        UNION SELECT m.name, c.name FROM sqlite_master m, pragma_table_xinfo(m.name) c
        WHERE m.type = 'table' AND c.hidden IN (2, 3)
    """,
    # A trigger on a part of a table counts for the whole. A rule may do what a trigger does.
    "postgresql": """
        SELECT c.relname, NULL FROM pg_trigger t
        JOIN pg_class p ON p.oid = t.tgrelid
        JOIN pg_class c ON c.oid IN (p.oid, pg_partition_root(p.oid))
          OR c.oid IN (SELECT inhparent FROM pg_inherits WHERE inhrelid = p.oid)
        WHERE NOT t.tgisinternal AND t.tgname NOT LIKE 'layercache%'
        UNION SELECT tablename, NULL FROM pg_rules
        UNION SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.attgenerated <> '' AND NOT a.attisdropped
    """,
}

_lock = threading.Lock()
_known: dict[str, tuple[float, frozenset[str]]] = {}


def may_be(table: str, connection: BaseDatabaseWrapper) -> bool:
    """Whether *table* may have a trigger: so it is where nobody has asked yet."""
    until, tables = _known.get(state_of(connection).database, (0.0, frozenset()))
    return until < time.monotonic() or table_name(table) in tables


def learn(connection: BaseDatabaseWrapper) -> None:
    """Ask, if it is time to, on a connection that has just run a statement.

    Asked of the driver's connection: it is not a query of the application's. After a statement and
    not before one, because on SQLite a transaction that begins by reading may have to give up.
    """
    query = _QUERIES.get(connection.vendor)
    database = state_of(connection).database
    if query is None or _known.get(database, (0.0,))[0] >= time.monotonic():
        return
    tables = _ask(connection, query)
    if tables is not None:
        with _lock:
            _known[database] = (time.monotonic() + KEPT, tables)


def forget() -> None:
    """A statement ran of which nobody knows what it does."""
    with _lock:
        _known.clear()


def _ask(connection: BaseDatabaseWrapper, query: str) -> frozenset[str] | None:
    driver: Any = connection.connection
    if driver is None or connection.needs_rollback:
        return None
    try:
        cursor = driver.cursor()
        try:
            cursor.execute(query)
            return frozenset(
                table_name(table)
                for table, generated in cursor.fetchall()
                if generated is None or table_name(generated) not in table_of(table).generated
            )
        finally:
            cursor.close()
    except Exception:  # the connection is broken; the next statement will say so
        return None
