"""What hand-written SQL reads and changes, by sqlglot's parser with the connection's dialect.

In doubt, everything: ``None`` for ``reads`` means that nobody knows, ``None`` for ``writes``
that the whole database may have changed. Without sqlglot (the ``sql`` extra) every statement
that is not plainly a query is such a doubt.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from django_layercache.querysets.sqlfunctions import KNOWN, VOLATILE
from django_layercache.querysets.sqltext import scan
from django_layercache.tags import table_name

try:
    import sqlglot
    from sqlglot import expressions as exp
    from sqlglot.errors import SqlglotError
except ImportError:  # pragma: no cover - the tests install it
    sqlglot = None  # type: ignore[assignment]

__all__ = ["ANYTHING", "HAS_PARSER", "Effect", "effect_of"]

HAS_PARSER = sqlglot is not None

Control = Literal["", "begin", "commit", "rollback", "isolation"]
Tables = frozenset[str]
_NONE: Tables = frozenset()
_DIALECTS = {"postgresql": "postgres", "sqlite": "sqlite", "mysql": "mysql", "oracle": "oracle"}
_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([A-Za-z]+)", re.DOTALL)
_PARAMETER = re.compile(r"%s|%\(\w+\)s")
_PREPARES_TRANSACTION = re.compile(r".*?\bPREPARE\s+TRANSACTION\b", re.IGNORECASE | re.DOTALL)
#: What else a session can be told that decides about the answers to others' statements: where tables
#: are looked for, what the policies of rows look at (the role, variables with a dot in their name),
#: and how values are shown and compared. ``SET CONSTRAINTS ALL``, which Django says often, is no such thing.
_FORMS = "time_?zone|datestyle|intervalstyle|default_text_search_config|sql_mode"
_MEANING = re.compile(
    rf"\bset_config\s*\((?!\s*'(?!search_path|role|session_authorization|row_security|{_FORMS})\w+')"
    r"|^\s*USE\b|^\s*PRAGMA\s+case_sensitive_like\b|^\s*(?:SET|RESET|DISCARD)\b(?!\s+CONSTRAINTS\b)"
    rf".*?(?:\b(?:search_path|schema|role|authorization|row_security|all|time\s+zone|{_FORMS})\b|\w\.\w)",
    re.IGNORECASE | re.DOTALL,
)
_ENDS = re.compile(r"\b(?:COMMIT|END|ROLLBACK|ABORT|PREPARE)\b", re.IGNORECASE)
_ISOLATION = re.compile(r"\bISOLATION\b|transaction_isolation", re.IGNORECASE)

#: Statements that neither read nor change rows.
_HARMLESS = frozenset(
    "SAVEPOINT RELEASE PRAGMA SHOW SET RESET MOVE CLOSE LISTEN UNLISTEN NOTIFY DISCARD ANALYZE"
    " VACUUM REINDEX CHECKPOINT USE DESCRIBE DESC LOCK UNLOCK GRANT REVOKE COMMENT ATTACH DETACH DEALLOCATE"
    " KILL FLUSH".split()
)
_CONTROLS: dict[str, Control] = {
    "BEGIN": "begin", "START": "begin", "COMMIT": "commit", "END": "commit", "ROLLBACK": "rollback",
    "ABORT": "rollback",
    "PREPARE": "rollback",  # of a transaction: for this connection; others commit it, if at all
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effect:
    """The tables that a statement reads and changes, and what it does to the transaction.

    ``deletes`` are those of ``writes`` whose rows may go, so that the database may cascade.
    ``means_otherwise``: other statements may give other answers on this connection from now on.
    ``chains``: the end of one transaction begins the next. ``names_isolation``: what it begins
    may read from a snapshot although others of the connection do not. ``may_end``: one of several
    statements may end the open transaction, and another one begin the next.
    """

    reads: Tables | None = _NONE
    writes: Tables | None = _NONE
    deletes: Tables = _NONE
    control: Control = ""
    means_otherwise: bool = False
    chains: bool = False
    names_isolation: bool = False
    may_end: bool = False


#: Texts that are longer are not parsed, which could take seconds, nor remembered.
LONGEST = 20_000

NOTHING = Effect()
ANYTHING = Effect(reads=None, writes=None)


def effect_of(sql: str, vendor: str) -> Effect:
    """Read what was given to ``cursor.execute``."""
    if len(sql) > LONGEST:
        return _effect_of.__wrapped__(sql, vendor)
    return _effect_of(sql, vendor)


@lru_cache(maxsize=2048)
def _effect_of(sql: str, vendor: str) -> Effect:
    effect = _effect_on_rows(sql, vendor)
    if effect.writes is None and _has_several_statements(sql) and _ENDS.search(sql):
        effect = replace(effect, may_end=True)
    return replace(effect, means_otherwise=True) if _MEANING.search(sql) else effect


def _effect_on_rows(sql: str, vendor: str) -> Effect:
    match = _FIRST_WORD.match(sql)
    word = match[1].upper() if match else ""
    if word in _CONTROLS and (word != "PREPARE" or _PREPARES_TRANSACTION.match(sql)):
        return _control(word, sql)
    if word in _HARMLESS:
        if _has_several_statements(sql):
            return _parsed(sql, vendor) or ANYTHING
        return Effect(control="isolation") if _ISOLATION.search(sql) else NOTHING
    if word in {"SELECT", "VALUES", "WITH", "EXPLAIN"}:
        return Effect(control="isolation") if _ISOLATION.search(sql) else _query(sql, vendor)
    if word in {"TABLE", "DECLARE", "FETCH"} and not _has_several_statements(sql):
        return Effect(reads=None)
    return _parsed(sql, vendor) or ANYTHING


def _control(word: str, sql: str) -> Effect:
    if _has_several_statements(sql):
        return ANYTHING
    if word == "ROLLBACK" and re.search(r"\bTO\b", sql, re.IGNORECASE):
        return NOTHING  # to a savepoint: what was changed stays dirty
    if re.search(r"\bPREPARED\b", sql, re.IGNORECASE):
        return ANYTHING  # the second phase, of a transaction of which this connection knows nothing
    return Effect(
        control=_CONTROLS[word],
        chains=re.search(r"\bAND\s+CHAIN\b", sql, re.IGNORECASE) is not None,
        names_isolation=_ISOLATION.search(sql) is not None,
    )


def _has_several_statements(sql: str) -> bool:
    """Perhaps: the semicolon may stand in a string."""
    return ";" in sql.rstrip("; \t\r\n")


def _query(sql: str, vendor: str) -> Effect:
    """A query changes nothing, unless something in it says that it may."""
    scanned = scan(sql)
    if not scanned.may_write and scanned.handwritten is None:
        return Effect(reads=frozenset(scanned.tables))
    if _calls_unknown(scanned.functions):
        return ANYTHING
    parsed = _parsed(sql, vendor)
    if parsed is None:
        may_write = scanned.may_write or _has_several_statements(sql)
        return ANYTHING if may_write else Effect(reads=None)
    if scanned.functions - KNOWN - VOLATILE:
        return replace(parsed, reads=None)  # of the server's own, such as the size of a table
    return parsed


def _calls_unknown(functions: frozenset[str]) -> bool:
    return any(
        name not in KNOWN and name not in VOLATILE and not name.startswith(("PG_", "SQLITE_"))
        for name in functions
    )


def _parsed(sql: str, vendor: str) -> Effect | None:
    if not HAS_PARSER or len(sql) > LONGEST:
        return None
    text = _PARAMETER.sub("NULL", sql).replace("%%", "%")
    try:
        with _silence():
            statements = sqlglot.parse(text, dialect=_DIALECTS.get(vendor))
    except (
        SqlglotError,
        RecursionError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
    ):
        return None
    reads: set[str] = set()
    writes: set[str] = set()
    deletes: set[str] = set()
    for statement in statements:
        if statement is None:
            continue
        if not isinstance(statement, _readable_statements()):
            return None
        reads |= {_name(table) for table in _tables(statement)}
        for node in statement.find_all(
            exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable, exp.Into
        ):
            targets = list(_targets(node))
            if not targets and node.find_ancestor(exp.Merge):
                continue  # WHEN MATCHED THEN UPDATE: of the table that MERGE names
            if not targets or _truncates_others(node):
                return None
            writes.update(targets)
            if isinstance(node, (exp.Delete, exp.Merge, exp.TruncateTable)) or _replaces(node):
                deletes.update(targets)
    return Effect(frozenset(reads), frozenset(writes), frozenset(deletes))


@contextmanager
def _silence() -> Iterator[None]:
    """The parser warns of what it cannot read. Here that is no news: it then changes anything."""
    reset = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(reset)


_silent: ContextVar[bool] = ContextVar("layercache_silent_parser", default=False)
if HAS_PARSER:
    logging.getLogger(sqlglot.__name__).addFilter(lambda record: not _silent.get())


def _readable_statements() -> tuple[type, ...]:
    return (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)


def _tables(node: Any) -> Iterator[Any]:
    return (table for table in node.find_all(exp.Table) if table.name)


def _name(table: Any) -> str:
    return table_name(table.name)


def _targets(node: Any) -> Iterator[str]:
    """The tables that the statement *node* changes."""
    if isinstance(node, exp.TruncateTable):
        yield from (_name(table) for table in node.expressions if isinstance(table, exp.Table))
        return
    this = node.this
    if isinstance(this, exp.Schema):
        this = this.this
    if isinstance(this, exp.Table) and this.name:
        yield _name(this)
    if isinstance(node, (exp.Update, exp.Delete)):
        # UPDATE a JOIN b, DELETE a FROM a JOIN b: which of them is changed depends on the columns.
        joined = [*node.find_all(exp.Join)] if isinstance(this, exp.Table) else []
        for join in joined:
            yield from (_name(table) for table in _tables(join))
        for table in node.args.get("tables") or ():
            yield _name(table)


def _truncates_others(node: Any) -> bool:
    return isinstance(node, exp.TruncateTable) and str(node.args.get("option")).upper() == "CASCADE"


def _replaces(node: Any) -> bool:
    """``REPLACE`` and ``INSERT OR REPLACE`` delete the rows that are in their way."""
    return isinstance(node, exp.Insert) and bool(
        node.args.get("overwrite") or str(node.args.get("alternative") or "").upper() == "REPLACE"
    )
