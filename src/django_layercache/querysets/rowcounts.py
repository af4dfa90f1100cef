"""How many rows a compiler's statements have touched: one that found none has changed nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

__all__ = ["RowCount", "counting", "note"]


@dataclass(slots=True)
class RowCount:
    """What the drivers' cursors said of the statements so far."""

    rows: int = 0
    statements: int = 0
    is_certain: bool = True

    @property
    def is_zero(self) -> bool:
        return self.statements > 0 and self.is_certain and self.rows == 0


_count: ContextVar[RowCount | None] = ContextVar("layercache_row_count", default=None)


@contextmanager
def counting() -> Iterator[RowCount]:
    """Count the rows of the statements inside."""
    count = RowCount()
    reset = _count.set(count)
    try:
        yield count
    finally:
        _count.reset(reset)


def note(cursor: Any) -> None:
    """The driver's *cursor* has run a statement."""
    count = _count.get()
    if count is None:
        return
    count.statements += 1
    rows = getattr(cursor, "rowcount", -1)
    # While rows are to be fetched, SQLite has not counted them yet.
    if rows is None or rows < 0 or cursor.description is not None:
        count.is_certain = False
    else:
        count.rows += rows
