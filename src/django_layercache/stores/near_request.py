"""The near tier's level ``request``: one snapshot of tokens for each request or task.

A token is fetched when the request first needs it, and counts until its end; so what the request
sees is never older than its own start. What this process changes meanwhile is fetched again.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from django_layercache.forks import renewed_in_children
from django_layercache.stores.base import PENDING, Reading
from django_layercache.stores.near import Tokens

__all__ = ["RequestTokens", "token_snapshot"]


class _Snapshot(Tokens):
    """The tokens of one request. ``version`` counts what this process has changed while it was open."""

    __slots__ = ("__weakref__", "is_open", "owner", "version")

    def __init__(self) -> None:
        super().__init__({})
        self.version = 0
        #: Who was started inside of the block may outlive it.
        self.is_open = True
        #: Whose tokens they are: settings may name another store in the middle of a request.
        self.owner: RequestTokens | None = None


_current: ContextVar[_Snapshot | None] = ContextVar("layercache_token_snapshot", default=None)
_open: WeakSet[_Snapshot] = WeakSet()
_lock = renewed_in_children(threading.Lock())


def _snapshot() -> _Snapshot | None:
    snapshot = _current.get()
    return snapshot if snapshot is not None and snapshot.is_open else None


@contextmanager
def token_snapshot() -> Iterator[None]:
    """Inside the block, what was fetched of a tag once is not fetched again.

    That is the near tier's level ``request``; where the settings name another level, or none, it
    does nothing. One inside of another is part of that one.
    """
    if _snapshot() is not None:
        yield
        return
    snapshot = _Snapshot()
    with _lock:
        _open.add(snapshot)
    reset = _current.set(snapshot)
    try:
        yield
    finally:
        _current.reset(reset)
        snapshot.is_open = False
        with _lock:
            _open.discard(snapshot)


class RequestTokens:
    """The tokens of the snapshot that is open where one asks; none where there is no such."""

    def tokens(self) -> Tokens | None:
        snapshot = _snapshot()
        return snapshot if snapshot is not None and snapshot.owner is self else None

    def begin(self) -> Any:
        snapshot = _snapshot()
        return None if snapshot is None else (snapshot, snapshot.version)

    def learn(self, ticket: Any, reading: Reading) -> None:
        if ticket is None:
            return
        snapshot, version = ticket
        with _lock:
            if snapshot.version != version:
                return  # it may have been answered before what was changed meanwhile
            if snapshot.owner is not self:
                snapshot.owner, snapshot.by_tag = self, {}
            snapshot.position = reading.sequence
            for tag, state in reading.states.items():
                if state is PENDING:
                    snapshot.by_tag.pop(tag, None)
                else:
                    snapshot.by_tag[tag] = state

    def forget(self, tags: Iterable[str]) -> None:
        with _lock:
            for snapshot in _open:
                snapshot.version += 1
                for tag in tags:
                    snapshot.by_tag.pop(tag, None)

    def clear(self) -> None:
        with _lock:
            for snapshot in _open:
                snapshot.version += 1
                snapshot.by_tag.clear()

    def close(self) -> None:
        pass
