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

    def step(self, kind: str, text: str, *, is_table: bool, decides: bool) -> None:
        """The next token: a name is that of a table, or what *decides* may be a column."""
        if is_table:
            self._table(text)
        elif kind == "name":
            self._name(text, decides)
        elif kind == "word":
            self._word(text, decides)

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
        elif not self._is_defined:
            self.found.add((qualifier, name))
            if decides:
                self.deciding.add((qualifier, name))
        self._qualifier, self._named, self._is_defined = "", None, False

    def of_tables(self, found: set[tuple[str, str]]) -> dict[str, frozenset[str]] | None:
        alone = {name for qualifier, name in found if qualifier not in self._tables}
        if not alone.isdisjoint(self._tables):
            return None  # the name of a table where a column is expected: the whole row
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
        self._in_from = [False]
        self._previous = ""
        self._section = "SELECT"
        self.after_comma = self.is_ordered = False
        #: By the place or the name of a result's column: of what it was made is not said there.
        self.orders_by_result = False

    @property
    def decides(self) -> bool:
        return self._section not in {"SELECT", "GROUP"}

    def step(self, kind: str, text: str) -> None:
        self.after_comma = kind == "mark" and text == "," and self._in_from[-1]
        if text == "(" and kind == "mark":
            self._in_from.append(False)
        elif text == ")" and kind == "mark":
            if len(self._in_from) > 1:
                self._in_from.pop()
        elif kind in {"word", "call"}:
            self._step_word(text)
        elif self._section == "ORDER":
            is_bare = kind == "name" and not _DOT.search(text) and not self._previous.endswith(".")
            self.orders_by_result |= kind == "number" or is_bare
        if kind in {"word", "call", "name"}:
            self._previous = text

    def _step_word(self, text: str) -> None:
        if text == "FROM":
            self._in_from[-1] = True
        elif text in _CLAUSES:
            self._in_from[-1] = False
        if len(self._in_from) > 1:
            return  # the outermost clauses only
        if text == "BY" and self._previous == "GROUP":
            self._section = "GROUP"
        elif text == "FROM" or (text in _CLAUSES and text not in {"GROUP", "SELECT"}):
            self._section = text
            self.is_ordered |= text == "ORDER"
