"""The names in the text of a SELECT: which may be columns, of which tables, and in which clauses they stand."""

import re

from django_layercache.tags import table_name

__all__ = ["KEYWORDS", "Clauses", "Names"]

#: Words after which a bracket is not a call.
KEYWORDS = frozenset(
    "ALL AND ANY AS BETWEEN BY CASE CROSS DISTINCT ELSE END EXCEPT EXISTS FILTER FROM FULL GROUP HAVING IN"
    " INNER INTERSECT IS JOIN LATERAL LEFT LIKE LIMIT MATERIALIZED MINUS NATURAL NOT OFFSET ON OR ORDER OUTER"
    " OVER PARTITION RECURSIVE RIGHT SELECT SOME THEN UNION USING VALUES WHEN WHERE WITH WITHIN".split()
)
_CLAUSES = frozenset("WHERE GROUP HAVING ORDER LIMIT UNION EXCEPT INTERSECT SELECT".split())
#: Columns of PostgreSQL's that any change of a row changes.
_OF_THE_SYSTEM = frozenset({"xmin", "xmax", "cmin", "cmax", "ctid"})
_DOT = re.compile(r"(?<=[\"`])\s*\.\s*(?=[\"`])")


class Names:
    """Which names of the text may be columns, and whose."""

    def __init__(self) -> None:
        self.found: set[tuple[str, str]] = set()
        self.deciding: set[tuple[str, str]] = set()
        self._tables: dict[str, set[str]] = {}  # of each name and alias
        self._qualifier = ""
        self._named: str | None = None  # the table that an alias may follow
        self._is_defined = False  # by an AS before it
        self._defined: set[str] = set()

    def step(self, kind: str, text: str, *, is_table: bool, decides: bool) -> None:
        """The next token: a name is that of a table, or what *decides* may be a column."""
        if is_table:
            self._table(text)
        elif kind == "name":
            self._name(text, decides)
        elif kind == "word":
            self._word(text, decides)
        else:  # WHERE (views > 1), AS varchar(10): what follows is neither an alias nor defined
            self._qualifier, self._named, self._is_defined = "", None, False

    def _table(self, text: str) -> None:
        self._named = table_name(text)
        self._tables.setdefault(self._named, set()).add(self._named)
        self._qualifier = ""

    def _name(self, text: str, decides: bool) -> None:
        *qualifiers, last = _DOT.split(text)
        qualifier = table_name(qualifiers[-1]) if qualifiers else self._qualifier
        self._add(qualifier, table_name(last), decides)

    def _word(self, text: str, decides: bool) -> None:
        if text.endswith("."):
            self._qualifier = text[:-1].lower()
        elif text not in KEYWORDS:
            qualifier, _, last = text.lower().rpartition(".")
            self._add(qualifier, last, decides)
        else:
            self._named = self._named if text == "AS" else None
            self._is_defined = text == "AS"

    def _add(self, qualifier: str, name: str, decides: bool) -> None:
        if self._named is not None and not qualifier:
            self._tables.setdefault(name, set()).add(self._named)
        elif self._is_defined:
            self._defined.add(name)
        else:
            self.found.add((qualifier, name))
            if decides:
                self.deciding.add((qualifier, name))
        self._qualifier, self._named, self._is_defined = "", None, False

    @property
    def decides_by_result(self) -> bool:
        """Whether a condition may name a column of the result, as SQLite allows."""
        return any(not qualifier and name in self._defined for qualifier, name in self.deciding)

    def of_tables(self, found: set[tuple[str, str]]) -> dict[str, frozenset[str]] | None:
        alone = {name for qualifier, name in found if qualifier not in self._tables}
        if not alone.isdisjoint(self._tables):
            return None  # the name of a table where a column is expected: the whole row
        if any(name in _OF_THE_SYSTEM for _, name in found):
            return None
        columns = {table: set(alone) for tables in self._tables.values() for table in tables}
        for qualifier, name in found:
            for table in self._tables.get(qualifier, ()):
                columns[table].add(name)
        return {table: frozenset(names) for table, names in columns.items()}


class Clauses:
    """In which clause the scan is.

    A comma separates tables directly inside a FROM clause. Outside of the outermost SELECT list and
    GROUP BY, a column decides which rows there are in the result.
    """

    def __init__(self) -> None:
        self._levels = [_Level()]
        self._previous = ""
        self._section = "SELECT"
        self.after_comma = self.is_ordered = False
        #: A subquery takes some rows of many, and does not say which.
        self.is_arbitrary = False
        #: By the place or the name of a result's column: of what it was made is not said there.
        self.orders_by_result = False

    @property
    def decides(self) -> bool:
        return self._section not in {"SELECT", "GROUP"}

    def step(self, kind: str, text: str) -> None:
        self.after_comma = kind == "mark" and text == "," and self._levels[-1].in_from
        if text == "(" and kind == "mark":
            self._levels.append(_Level(is_existence=self._previous == "EXISTS"))
        elif text == ")" and kind == "mark":
            if len(self._levels) > 1:
                self._levels.pop()
        elif kind in {"word", "call"}:
            self._step_word(text)
        elif self._section == "ORDER":
            is_bare = kind == "name" and not _DOT.search(text) and not self._previous.endswith(".")
            self.orders_by_result |= kind == "number" or is_bare
        if kind in {"word", "call", "name"}:
            self._previous = text

    def is_before_table(self, text: str) -> bool:
        """Whether the word *text* stands before a table, as in neither EXTRACT(YEAR FROM "x") nor IS DISTINCT FROM."""
        is_from = text == "FROM" and self._levels[-1].is_query and self._previous != "DISTINCT"
        return is_from or text == "JOIN"

    def _step_word(self, text: str) -> None:
        level = self._levels[-1]
        if text == "FROM" and not self.is_before_table(text):
            return
        level.step(text)
        if len(self._levels) > 1:
            self.is_arbitrary |= text in {"LIMIT", "OFFSET"} and not level.is_certain
            return  # the outermost clauses only
        if text == "BY" and self._previous == "GROUP":
            self._section = "GROUP"
        elif text == "FROM" or (text in _CLAUSES and text not in {"GROUP", "SELECT"}):
            self._section = text
            self.is_ordered |= text == "ORDER"


class _Level:
    """What is inside of a pair of brackets."""

    def __init__(self, *, is_existence: bool = False) -> None:
        self.in_from = self.is_query = False
        #: Which rows a LIMIT takes is said, or makes no difference.
        self.is_certain = is_existence

    def step(self, word: str) -> None:
        if word == "FROM":
            self.in_from = True
        elif word in _CLAUSES:
            self.in_from = False
        self.is_query |= word in {"SELECT", "DELETE"}
        self.is_certain |= word == "ORDER"
