"""What hand-written SQL reads and changes, by sqlglot's parser with the connection's dialect.

In doubt, everything: ``None`` for ``reads`` means that nobody knows, ``None`` for ``writes``
that the whole database may have changed. Without sqlglot (the ``sql`` extra) every statement
that is not plainly a query is such a doubt.
"""

import re
from dataclasses import replace
from functools import lru_cache
from itertools import chain

from django_layercache.querysets.effects import ANYTHING, NOTHING, Control, Effect
from django_layercache.querysets.sqlfunctions import KNOWN, VOLATILE, spelt, unknown_functions
from django_layercache.querysets.sqlparser import HAS_PARSER, parse
from django_layercache.querysets.sqltext import scan
from django_layercache.tags import table_name

__all__ = ["ANYTHING", "HAS_PARSER", "NOTHING", "Effect", "effect_of"]

_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([A-Za-z]+)", re.DOTALL)
_PART = r"(?:[\"`][^\"`]+[\"`]|[\w$]+)"
_NAME = re.compile(rf"\s+((?:{_PART}\.)*({_PART}))")
_COPIES = re.compile(rf"\s+(?:{_PART}\.)*({_PART})\s*(?:\([^()]*\)\s*)?(FROM|TO)\b", re.IGNORECASE)
_COPIES_QUERY = re.compile(r"\s*\((.*)\)\s*TO\b", re.IGNORECASE | re.DOTALL)
_DATABASE = re.compile(
    rf"\b(?:CREATE|DROP)\s+DATABASE(?:\s+IF(?:\s+NOT)?\s+EXISTS)?\s+({_PART})", re.IGNORECASE
)
_SAVEPOINT = re.compile(rf"\s*(?:(SAVEPOINT)|RELEASE(?:\s+SAVEPOINT)?)\s+({_PART})", re.IGNORECASE)
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
_SCHEMA = re.compile(
    r"\s*(?:SET\s+(?:SESSION\s+|LOCAL\s+)?(?:search_path|SCHEMA)\b|RESET\s+search_path\b"
    r"|SELECT\s+(?:pg_catalog\.)?set_config\s*\(\s*'search_path'\s*,)[^;]*;?\s*$",
    re.IGNORECASE,
)
#: What makes a transaction read a snapshot, or not. (One that only reads may read what others do.)
_ISOLATION = re.compile(
    r"\bISOLATION\s+LEVEL\b|transaction_(?:isolation|deferrable|read_only)|\bDEFERRABLE\b|\bREAD\s+WRITE\b",
    re.IGNORECASE,
)
_IMPORTS = re.compile(r"\bTRANSACTION\s+SNAPSHOT\b", re.IGNORECASE)
_SETS_ISOLATION = re.compile(
    r"\bset_config\s*\((?!\s*'(?!(?:default_)?transaction_)[\w.]+')", re.IGNORECASE
)

#: Statements that neither read nor change rows.
_HARMLESS = frozenset(
    "SAVEPOINT RELEASE PRAGMA SHOW SET RESET MOVE CLOSE LISTEN UNLISTEN NOTIFY DISCARD ANALYZE"
    " VACUUM REINDEX CHECKPOINT USE DESCRIBE DESC LOCK UNLOCK GRANT REVOKE COMMENT ATTACH DETACH DEALLOCATE"
    " KILL FLUSH".split()
)
_CONTROLS: dict[str, Control] = {
    "BEGIN": "begin", "START": "begin", "COMMIT": "commit", "END": "commit", "ROLLBACK": "rollback",
    "ABORT": "rollback",
    "PREPARE": "prepare",  # of a transaction: this connection's part in it is over
}  # fmt: skip


#: Texts that are longer are not parsed, which could take seconds, nor remembered.
LONGEST = 20_000


def effect_of(sql: str, vendor: str) -> Effect:
    """Read what was given to ``cursor.execute``."""
    if len(sql) > LONGEST:
        return _effect_of.__wrapped__(sql, vendor)
    return _effect_of(sql, vendor)


@lru_cache(maxsize=2048)
def _effect_of(sql: str, vendor: str) -> Effect:
    effect = _effect_on_rows(sql, vendor)
    if effect.writes is None and (names := _DATABASE.findall(sql)):
        spellings = [(name.strip('"`'), name.lower()) for name in names]
        effect = replace(effect, databases=frozenset(chain.from_iterable(spellings)))
    if effect.writes is None and _has_several_statements(sql) and _ENDS.search(sql):
        effect = replace(effect, may_end=True)
    if not _MEANING.search(sql):
        return effect
    return replace(effect, means_otherwise=True, chooses_schema=bool(_SCHEMA.match(sql)))


def _effect_on_rows(sql: str, vendor: str) -> Effect:
    match = _FIRST_WORD.match(sql)
    word = match[1].upper() if match else ""
    if word in _CONTROLS and (word != "PREPARE" or _PREPARES_TRANSACTION.match(sql)):
        return _control(word, sql)
    if word in _HARMLESS:
        return _harmless(sql, vendor)
    if word in {"SELECT", "VALUES", "WITH", "EXPLAIN"}:
        effect = _query(sql, vendor)
        return replace(effect, names_isolation=True) if _SETS_ISOLATION.search(sql) else effect
    if word in {"TABLE", "DECLARE", "FETCH"} and not _has_several_statements(sql):
        return Effect(reads=None)
    if match is not None and word in {"CALL", "COPY"}:
        return (_procedure if word == "CALL" else _copy)(sql, vendor, match.end())
    return _parsed(sql, vendor) or ANYTHING


def _harmless(sql: str, vendor: str) -> Effect:
    if _has_several_statements(sql):
        return _parsed(sql, vendor) or ANYTHING
    if vendor == "sqlite" and (found := _SAVEPOINT.match(sql)):
        name = found[2].strip('"`').lower()
        return Effect(control="savepoint" if found[1] else "release", savepoint=name)
    if _IMPORTS.search(sql):
        return Effect(control="snapshot")
    return Effect(control="isolation") if _ISOLATION.search(sql) else NOTHING


def _control(word: str, sql: str) -> Effect:
    if _has_several_statements(sql):
        return ANYTHING
    if word == "ROLLBACK" and re.search(r"\bTO\b", sql, re.IGNORECASE):
        return NOTHING  # to a savepoint of unknown age: what was changed stays dirty
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
    unknown = unknown_functions(scanned.functions)
    parsed = _parsed(sql, vendor)
    if unknown:
        return ANYTHING if parsed is None else parsed.calling(unknown)
    if parsed is None:
        may_write = scanned.may_write or _has_several_statements(sql)
        return ANYTHING if may_write else Effect(reads=None)
    if scanned.functions - KNOWN - VOLATILE:
        return replace(parsed, reads=None)  # of the server's own, such as the size of a table
    return parsed


def _copy(sql: str, vendor: str, begin: int) -> Effect:
    if _has_several_statements(sql):
        return ANYTHING
    if found := _COPIES.match(sql, begin):
        table = frozenset({table_name(found[1])})
        return Effect(writes=table) if found[2].upper() == "FROM" else Effect(reads=table)
    found = _COPIES_QUERY.match(sql, begin)
    return ANYTHING if found is None else _effect_on_rows(found[1], vendor)


def _procedure(sql: str, _vendor: str, begin: int) -> Effect:
    name = _NAME.match(sql, begin)
    if name is None or _has_several_statements(sql):
        return ANYTHING
    calls = unknown_functions(scan(sql).functions) | {spelt(name[1])}
    return NOTHING.calling(calls)


def _parsed(sql: str, vendor: str) -> Effect | None:
    return parse(sql, vendor) if HAS_PARSER and len(sql) <= LONGEST else None
