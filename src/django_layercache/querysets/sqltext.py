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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from django_layercache.querysets import sqlfunctions
from django_layercache.querysets.sqlnames import KEYWORDS, Clauses, Names
from django_layercache.tags import table_name

__all__ = ["Scan", "scan"]

_TOKEN = re.compile(
    r"""
      '(?:[^']|'')*'                             # a string
    | %[s%]|%\(\w+\)s                           # a parameter
    | (?P<number>\d[\w.]*)
    | (?P<name>(?:"(?:[^"]|"")+"|`[^`]+`)(?:\.(?:"(?:[^"]|"")+"|`[^`]+`))*)(?P<quoted>\s*\()?  # a quoted name
    | (?P<word>[A-Za-z_][A-Za-z0-9_$.]*)(?P<call>\s*\()?
    | (?P<mark>[(),;]|--|/\*)
    """,
    re.VERBOSE,
)
#: Longer texts, such as those with thousands of parameters, are not remembered.
LONGEST = 10_000

_COLUMNS_FOLLOW = frozenset({"INTO", "WITH", "RECURSIVE", "AS"})
_LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE|KEY)\b", re.IGNORECASE)
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`""")
_WINDOW = re.compile(r"\bOVER\b", re.IGNORECASE)
#: All columns, or all that two tables have in common, without a name.
_UNNAMED = re.compile(r"\.\s*\*|(?:SELECT|DISTINCT|,)\s*\*|\bNATURAL\b", re.IGNORECASE)
_WRITES = frozenset(
    "INSERT UPDATE DELETE MERGE REPLACE TRUNCATE INTO CALL EXECUTE COPY LOAD".split()
)


Columns = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Scan:
    """What one SQL text says.

    ``tables`` counts how often each table is read. ``handwritten`` says why the text cannot be a
    compiler's alone, so that ``tables`` may lack some; ``volatile`` why its result may change
    although no table does. ``columns`` names, for each table, everything that may be a column of
    it: what follows its name or an alias of it, and what stands alone. It is ``None`` if rows
    are read as a whole. ``deciding`` are those of them that decide which rows are in the result,
    and in which order; ``None`` if others may, too.
    """

    tables: Counter[str]
    columns: Columns | None
    deciding: Columns | None
    is_ordered: bool
    #: It shows some of many rows, or many in some order, and does not say which.
    is_arbitrary: bool
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
    clauses, names = Clauses(), Names()
    for kind, text in _tokens(sql):
        is_table = kind == "name" and (expects_table or clauses.after_comma)
        if is_table:
            tables[table_name(text)] += 1
        if kind == "name":
            expects_table = False
        elif kind == "call":
            expects_table = clauses.is_before_table(text)
            if text not in KEYWORDS:
                functions.add(text)
        elif kind == "word":
            if expects_table and text not in {"LATERAL", "ONLY", "SELECT", "NULL"}:
                handwritten = f"reads {text.lower()!r}, which no compiler wrote"
            expects_table = clauses.is_before_table(text) or (
                expects_table and text in {"LATERAL", "ONLY"}
            )
            words.add(text)
        elif text in {"--", "/*", ";"}:
            handwritten = "has a comment or several statements"
        names.step(kind, text, is_table=is_table, decides=clauses.decides)
        clauses.step(kind, text)
    unknown = functions - sqlfunctions.KNOWN - sqlfunctions.VOLATILE
    if unknown:
        called = f"calls {min(unknown).lower()}(), which may read anything"
        handwritten = handwritten or f"{called}; PROCEDURES can say what it 'reads'"
    columns, deciding = _columns(sql, names, clauses)
    return Scan(
        tables,
        columns,
        deciding,
        clauses.is_ordered,
        clauses.is_arbitrary or not functions.isdisjoint(sqlfunctions.IN_SOME_ORDER),
        handwritten,
        _why_volatile(functions, words, sql),
        frozenset(functions),
        bool(words & _WRITES) or "SELECT" in words and bool(unknown),
    )


def _columns(sql: str, names: Names, clauses: Clauses) -> tuple[Columns | None, Columns | None]:
    # Of a name that is neither quoted nor ASCII, the scan sees parts only.
    is_legible = sql.isascii() or _QUOTED.sub("", sql).isascii()
    if not is_legible or _UNNAMED.search(sql):
        return None, None
    columns = names.of_tables(names.found)
    by_result = clauses.orders_by_result or names.decides_by_result
    if columns is None or by_result or _WINDOW.search(sql):
        return columns, None
    return columns, names.of_tables(names.deciding)


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
        elif kind is not None:
            yield kind, match[kind]
        previous = match["word"].upper() if kind == "word" else None


def _why_volatile(functions: set[str], words: set[str], sql: str) -> str | None:
    volatile = (functions & sqlfunctions.VOLATILE) | (words & sqlfunctions.VOLATILE_WORDS)
    if volatile:
        return f"{min(volatile).lower()!r} gives another result each time"
    if _LOCKS.search(sql):
        return "locks rows"
    if functions & sqlfunctions.DATES and re.search(r"'now'", sql, re.IGNORECASE):
        return "'now' gives another result each time"
    return None
