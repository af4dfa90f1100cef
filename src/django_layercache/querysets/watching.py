"""Whether the statement that passes has been dealt with already, or is the library's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

__all__ = ["dealt_with", "is_dealt_with", "is_ours", "not_dealt_with", "ours"]


class _Watch(IntEnum):
    EVERYTHING = 0
    COMPILERS = 1  # not the cursors below: a compiler has said what the statement does
    NOTHING = 2


_watch: ContextVar[_Watch] = ContextVar("layercache_watch", default=_Watch.EVERYTHING)


@contextmanager
def dealt_with() -> Iterator[None]:
    """Statements inside come from a compiler, which has been looked at."""
    reset = _watch.set(max(_Watch.COMPILERS, _watch.get()))
    try:
        yield
    finally:
        _watch.reset(reset)


@contextmanager
def not_dealt_with() -> Iterator[None]:
    """Statements inside come from elsewhere, although a compiler's is on its way."""
    reset = _watch.set(_Watch.EVERYTHING)
    try:
        yield
    finally:
        _watch.reset(reset)


@contextmanager
def ours() -> Iterator[None]:
    """Statements inside are the library's: nothing depends on them, and they are not cached."""
    reset = _watch.set(_Watch.NOTHING)
    try:
        yield
    finally:
        _watch.reset(reset)


def is_dealt_with() -> bool:
    """Whether a cursor may pass its statement on."""
    return _watch.get() is not _Watch.EVERYTHING


def is_ours() -> bool:
    """Whether a compiler may, too."""
    return _watch.get() is _Watch.NOTHING
