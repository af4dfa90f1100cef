"""What triggers, rules and the functions that they call change by statements of their own: what their texts say.

The languages are SQLite's, SQL and PL/pgSQL. Their statements name the tables that they change, but for
those that are put together at run time: of these nobody knows.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from django_layercache.querysets.sqlfunctions import spelt
from django_layercache.querysets.sqlnames import KEYWORDS
from django_layercache.tags import table_name

__all__ = ["HARMLESS", "LANGUAGES", "Body", "body_of"]

#: Those whose texts can be read.
LANGUAGES = frozenset({"sqlite", "rule", "sql", "plpgsql"})

#: Trigger functions in C, of PostgreSQL and of what comes with it, that change the row at hand at most.
HARMLESS = frozenset(
    "tsvector_update_trigger tsvector_update_trigger_column suppress_redundant_updates_trigger"
    " moddatetime autoinc insert_username lo_manage".split()
)

_SKIPPED = re.compile(
    r"""
      --[^\n]* | /\*.*?\*/
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'
    | (?P<name>"(?:[^"]|"")*")
    """,
    re.VERBOSE | re.DOTALL,
)
#: Where the statements begin: before that stands when, and for which table.
_BEGINNINGS = {
    "sqlite": re.compile(r"\bBEGIN\b", re.IGNORECASE),
    "rule": re.compile(r"\bDO\b", re.IGNORECASE),
}

_PART = r"(?:\"(?:[^\"]|\"\")+\"|`[^`]+`|\[[^\]]+\]|[\w$]+)"
_NAME = rf"(?:{_PART}\s*\.\s*)*({_PART})"
_WRITE = re.compile(
    rf"""
      \b(?:FOR(?:\s+NO\s+KEY)?|DO)\s+UPDATE\b  # locks rows; or is what an INSERT does, and has been named
    | \b(?:
          (?P<deletes>DELETE\s+FROM)
        | (?:INSERT(?:\s+OR\s+\w+)?|REPLACE|MERGE)\s+INTO
        | UPDATE(?:\s+OR\s+\w+)?
        | REFRESH\s+MATERIALIZED\s+VIEW(?:\s+CONCURRENTLY)?
      )\b\s*(?:ONLY\b\s*)?{_NAME}
    """,
    re.VERBOSE | re.IGNORECASE,
)
#: What follows UPDATE where no table does.
_NO_TABLES = frozenset({"set", "of"})
_UNREADABLE = re.compile(
    r"\b(?:EXECUTE|CALL|TRUNCATE|COPY|CREATE|ALTER|DROP|IMPORT|ATTACH)\b", re.IGNORECASE
)
_CALL = re.compile(rf"(?<![\w$\"])({_PART}(?:\s*\.\s*{_PART})*)\s*\(")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
#: ``UPDATE post SET edited = 1 WHERE id = NEW.id``: of the table, the column, and the column of the row at hand.
_OWN_ROW = re.compile(
    rf"""
    \s*UPDATE\s+(?:ONLY\s+)?{_NAME}\s+SET\b(?:(?!\b(?:FROM|WHERE|SELECT)\b).)*
    \bWHERE\s*\(*\s*{_NAME}\s*==?\s*(?:NEW|OLD)\s*\.\s*({_PART})[\s)]*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_STATEMENTS = re.compile(r";|\b(?:BEGIN|THEN|ELSE|LOOP)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Body:
    """The tables that it changes, those of which rows may go, and names that may be functions'."""

    writes: frozenset[str] = frozenset()
    deletes: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def body_of(
    text: str, language: str, own_rows: frozenset[tuple[str, str]] = frozenset()
) -> Body | None:
    """What *text* in one of :data:`LANGUAGES` says; ``None`` if nobody knows.

    A statement that changes the row at hand, found by the primary key, changes none that is not known
    already; *own_rows* are the table and the column for that.
    """
    text = _SKIPPED.sub(lambda found: found["name"] or " '' ", text)
    if language in _BEGINNINGS:
        _, _, text = _partition(text, _BEGINNINGS[language])
    if _UNREADABLE.search(_QUOTED.sub("", text)):
        return None
    writes: set[str] = set()
    deletes: set[str] = set()
    calls: set[str] = set()
    for statement in _STATEMENTS.split(text):
        if not _is_of_own_row(statement, own_rows):
            found = list(_written(statement))
            writes.update(table for table, _ in found)
            deletes.update(table for table, is_delete in found if is_delete)
        calls.update(_called(_WRITE.sub(" ", statement)))
    return Body(frozenset(writes), frozenset(deletes), frozenset(calls))


def _partition(text: str, mark: re.Pattern[str]) -> tuple[str, str, str]:
    found = mark.search(text)
    return (
        ("", "", text) if found is None else (text[: found.start()], found[0], text[found.end() :])
    )


def _is_of_own_row(statement: str, own_rows: frozenset[tuple[str, str]]) -> bool:
    found = _OWN_ROW.fullmatch(statement)
    if found is None:
        return False
    table, column, of_row = map(table_name, found.groups())
    return column == of_row and (table, column) in own_rows


def _written(statement: str) -> Iterable[tuple[str, bool]]:
    """The tables, and whether their rows may go."""
    for found in _WRITE.finditer(statement):
        name = found[2]
        if name is not None and name.lower() not in _NO_TABLES:
            yield table_name(name), found["deletes"] is not None


def _called(statement: str) -> Iterable[str]:
    for found in _CALL.finditer(statement):
        name = spelt(found[1])
        if name.upper() not in KEYWORDS:
            yield name.rpartition(".")[2].strip()
