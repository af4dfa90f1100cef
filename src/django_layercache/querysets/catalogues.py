"""What the catalogue of a database says of its triggers, rules, generated columns, views and cascades."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache.querysets.sqlfunctions import spelt
from django_layercache.querysets.triggerbodies import LANGUAGES, body_of
from django_layercache.tags import table_name

__all__ = ["Catalogue", "Text", "look_up"]

_SQLITE = """
    SELECT type, tbl_name, name, 'sqlite', sql FROM sqlite_master WHERE type IN ('trigger', 'view')
    UNION ALL SELECT 'generated', m.name, c.name, '', '' FROM sqlite_master m, pragma_table_xinfo(m.name) c
    WHERE m.type = 'table' AND c.hidden IN (2, 3)
    UNION ALL SELECT 'cascade', f."table", m.name, '', '' FROM sqlite_master m, pragma_foreign_key_list(m.name) f
    WHERE m.type = 'table' AND f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
"""
# A trigger on a part of a table counts for the whole. A rule may do what a trigger does.
_POSTGRESQL = """
    SELECT 'trigger', c.relname, f.proname, l.lanname, f.prosrc FROM pg_trigger t
    JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_language l ON l.oid = f.prolang
    JOIN pg_class p ON p.oid = t.tgrelid
    JOIN pg_class c ON c.oid IN (p.oid, pg_partition_root(p.oid))
      OR c.oid IN (SELECT inhparent FROM pg_inherits WHERE inhrelid = p.oid)
    WHERE NOT t.tgisinternal AND t.tgname NOT LIKE 'layercache%'
    UNION ALL SELECT 'trigger', tablename, rulename, 'rule', definition FROM pg_rules
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'generated', c.relname, a.attname, '', '' FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid WHERE a.attgenerated <> '' AND NOT a.attisdropped
    UNION ALL SELECT 'cascade', r.relname, c.relname, '', '' FROM pg_constraint k
    JOIN pg_class r ON r.oid = k.confrelid JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.contype = 'f' AND k.confdeltype IN ('c', 'n', 'd')
    UNION ALL SELECT 'view', c.relname, '', '', '' FROM pg_class c
    WHERE c.relkind = 'v' AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
"""
# Others are not allowed to change anything.
_FUNCTIONS = """
    SELECT f.proname, l.lanname, f.prosrc FROM pg_proc f JOIN pg_language l ON l.oid = f.prolang
    WHERE f.provolatile = 'v' AND f.pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
    AND f.proname = ANY(%s)
"""
_QUERIES = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}


@dataclass(frozen=True, slots=True)
class Text:
    """The *text* of a function with this *name*, in a *language*; of a trigger of *table*."""

    table: str
    name: str
    language: str
    text: str


@dataclass(slots=True)
class Catalogue:
    """What there is.

    ``generated`` are tables and columns; ``functions`` those that triggers call, and that may change
    something; ``cascades`` the tables that a deletion of rows of a table changes, by foreign keys.
    """

    triggers: list[Text] = field(default_factory=list)
    generated: set[tuple[str, str]] = field(default_factory=set)
    views: set[str] = field(default_factory=set)
    functions: dict[str, list[Text]] = field(default_factory=dict)
    cascades: dict[str, set[str]] = field(default_factory=dict)


def look_up(connection: BaseDatabaseWrapper) -> Catalogue | None:
    """Ask the driver's *connection*; ``None`` if it does not answer, or has no catalogue that is known here."""
    query, driver = _QUERIES.get(connection.vendor), connection.connection
    if query is None or driver is None or connection.needs_rollback:
        return None
    try:
        cursor = driver.cursor()
        try:
            catalogue = _read(cursor, query)
            if connection.vendor == "postgresql":
                _read_functions(cursor, catalogue)
            return catalogue
        finally:
            cursor.close()
    except Exception:  # the connection is broken; the next statement will say so
        return None


def _read(cursor: Any, query: str) -> Catalogue:
    catalogue = Catalogue()
    cursor.execute(query)
    for kind, table, name, language, text in cursor.fetchall():
        if kind == "trigger":
            catalogue.triggers.append(Text(table_name(table), spelt(name), language, text))
        elif kind == "view":
            catalogue.views.add(table_name(table))
        elif kind == "cascade":
            catalogue.cascades.setdefault(table_name(table), set()).add(table_name(name))
        else:
            catalogue.generated.add((table_name(table), table_name(name)))
    return catalogue


def _read_functions(cursor: Any, catalogue: Catalogue) -> None:
    """Those that the triggers call, and those that these call."""
    asked: set[str] = set()
    wanted = _called(catalogue.triggers)
    while wanted:
        asked |= wanted
        cursor.execute(_FUNCTIONS, [sorted(wanted)])
        found = [
            Text("", spelt(name), language, text) for name, language, text in cursor.fetchall()
        ]
        for one in found:
            catalogue.functions.setdefault(one.name, []).append(one)
        wanted = _called(found) - asked


def _called(texts: Iterable[Text]) -> set[str]:
    bodies = [body_of(one.text, one.language) for one in texts if one.language in LANGUAGES]
    return {call for body in bodies if body is not None for call in body.calls}
