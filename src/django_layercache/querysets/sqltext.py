"""The text of a SELECT that Django's compilers made: which tables it reads, and what it calls.

The finished SQL is the one place where every table of a query stands, however deep in a
subquery, an expression or a third party's lookup it came from: a walk over the query's
objects sees only what their authors thought of. Compilers quote each identifier and write
``FROM`` or ``JOIN`` before each table, so a scan for tokens is enough; whatever looks
different was written by hand (``RawSQL``, ``extra``) and is left to a real SQL parser
(:mod:`django_layercache.querysets.rawsql`). Scans are remembered by text.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from django_layercache.querysets import sqlfunctions
from django_layercache.tags import table_name

__all__ = ["Scan", "scan"]

_TOKEN = re.compile(
    r"""
      '(?:[^']|'')*'                             # a string
    | %[s%]|%\(\w+\)s|\d[\w.]*                   # a parameter, a number
    | (?P<name>(?:"(?:[^"]|"")+"|`[^`]+`)(?:\.(?:"(?:[^"]|"")+"|`[^`]+`))*)(?P<quoted>\s*\()?  # a quoted name
    | (?P<word>[A-Za-z_][A-Za-z0-9_$.]*)(?P<call>\s*\()?
    | (?P<mark>[(),;]|--|/\*)
    """,
    re.VERBOSE,
)
#: Longer texts, such as those with thousands of parameters, are not remembered.
LONGEST = 10_000

_TABLE_FOLLOWS = frozenset({"FROM", "JOIN"})
#: Words after which a bracket is not a call.
_KEYWORDS = frozenset(
    "ALL AND ANY AS BETWEEN BY CASE CROSS DISTINCT ELSE END EXCEPT EXISTS FILTER FROM FULL GROUP HAVING IN"
    " INNER INTERSECT IS JOIN LATERAL LEFT LIKE LIMIT MATERIALIZED MINUS NATURAL NOT OFFSET ON OR ORDER OUTER"
    " OVER PARTITION RECURSIVE RIGHT SELECT SOME THEN UNION USING VALUES WHEN WHERE WITH WITHIN".split()
)
_COLUMNS_FOLLOW = frozenset({"INTO", "WITH", "RECURSIVE", "AS"})
_LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE|KEY)\b", re.IGNORECASE)
_WRITES = frozenset(
    "INSERT UPDATE DELETE MERGE REPLACE TRUNCATE INTO CALL EXECUTE COPY LOAD".split()
)


@dataclass(frozen=True, slots=True)
class Scan:
    """What one SQL text says.

    ``tables`` counts how often each table is read. ``handwritten`` says why the text cannot be a
    compiler's alone, so that ``tables`` may lack some; ``volatile`` why its result may change
    although no table does.
    """

    tables: Counter[str]
    handwritten: str | None
    volatile: str | None
    functions: frozenset[str]
    may_write: bool


def scan(sql: str) -> Scan:
    """Read the text of a query."""
    return _scan(sql) if len(sql) <= LONGEST else _scan.__wrapped__(sql)


@lru_cache(maxsize=4096)
def _scan(sql: str) -> Scan:
    tables: Counter[str] = Counter()
    functions: set[str] = set()
    words: set[str] = set()
    handwritten = None
    expects_table = False
    clause = _Clauses()
    for kind, text in _tokens(sql):
        if kind == "name":
            if expects_table or clause.after_comma:
                tables[table_name(text)] += 1
            expects_table = False
        elif kind == "call":
            expects_table = text in _TABLE_FOLLOWS
            if text not in _KEYWORDS:
                functions.add(text)
        elif kind == "word":
            if expects_table and text not in {"LATERAL", "ONLY", "SELECT", "NULL"}:
                handwritten = f"reads {text.lower()!r}, which no compiler wrote"
            expects_table = text in _TABLE_FOLLOWS or (
                expects_table and text in {"LATERAL", "ONLY"}
            )
            words.add(text)
        elif text in {"--", "/*", ";"}:
            handwritten = "has a comment or several statements"
        clause.step(kind, text)
    unknown = functions - sqlfunctions.KNOWN - sqlfunctions.VOLATILE
    if unknown:
        handwritten = handwritten or f"calls {min(unknown).lower()}(), which may read anything"
    return Scan(
        tables,
        handwritten,
        _why_volatile(functions, words, sql),
        frozenset(functions),
        bool(words & _WRITES) or "SELECT" in words and bool(unknown),
    )


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    previous = None
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind == "name":
            yield "name", match["name"]
        elif kind == "quoted":
            # "f"(x) is a call; INSERT INTO "t" (x), WITH "t" (x) and AS "t" (x) name columns.
            is_table = previous in _COLUMNS_FOLLOW
            yield ("name" if is_table else "call"), match["name"]
            yield "mark", "("
        elif kind == "call":
            yield "call", match["word"].upper()
            yield "mark", "("
        elif kind == "word":
            yield "word", match["word"].upper()
        elif kind == "mark":
            yield "mark", match["mark"]
        previous = match["word"].upper() if kind == "word" else None


class _Clauses:
    """Whether a comma separates tables: it does directly inside a FROM clause."""

    def __init__(self) -> None:
        self._in_from = [False]
        self.after_comma = False

    def step(self, kind: str, text: str) -> None:
        self.after_comma = kind == "mark" and text == "," and self._in_from[-1]
        if text == "(" and kind == "mark":
            self._in_from.append(False)
        elif text == ")" and kind == "mark":
            if len(self._in_from) > 1:
                self._in_from.pop()
        elif kind in {"word", "call"}:
            if text == "FROM":
                self._in_from[-1] = True
            elif text in {
                "WHERE",
                "GROUP",
                "HAVING",
                "ORDER",
                "LIMIT",
                "UNION",
                "EXCEPT",
                "INTERSECT",
                "SELECT",
            }:
                self._in_from[-1] = False


def _why_volatile(functions: set[str], words: set[str], sql: str) -> str | None:
    volatile = (functions & sqlfunctions.VOLATILE) | (words & sqlfunctions.VOLATILE_WORDS)
    if volatile:
        return f"{min(volatile).lower()} gives another result each time"
    if _LOCKS.search(sql):
        return "locks rows"
    if functions & sqlfunctions.DATES and re.search(r"'now'", sql, re.IGNORECASE):
        return "'now' gives another result each time"
    return None
