"""Whether the statement that passes has been dealt with already, or is the library's own."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from enum import IntEnum

__all__ = ["dealt_with", "is_dealt_with", "is_ours", "not_dealt_with", "ours"]


class _Watch(IntEnum):
    EVERYTHING = 0
    COMPILERS = 1  # not the cursors below: a compiler has said what the statement does
    NOTHING = 2


_watch: ContextVar[_Watch] = ContextVar("layercache_watch", default=_Watch.EVERYTHING)


@contextmanager
def _watching(what: _Watch) -> Iterator[None]:
    reset = _watch.set(what)
    try:
        yield
    finally:
        _watch.reset(reset)


def dealt_with() -> AbstractContextManager[None]:
    """Statements inside come from a compiler, which has been looked at."""
    return _watching(max(_Watch.COMPILERS, _watch.get()))


def not_dealt_with() -> AbstractContextManager[None]:
    """Statements inside come from elsewhere, although a compiler's is on its way."""
    return _watching(_Watch.EVERYTHING)


def ours() -> AbstractContextManager[None]:
    """Statements inside are the library's: nothing depends on them, and they are not cached."""
    return _watching(_Watch.NOTHING)


def is_dealt_with() -> bool:
    """Whether a cursor may pass its statement on."""
    return _watch.get() is not _Watch.EVERYTHING


def is_ours() -> bool:
    """Whether a compiler may, too."""
    return _watch.get() is _Watch.NOTHING
