"""The `local` store: exact within its own process, bounded in bytes, least recently used out first."""

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence

from django_layercache.forks import renewed_in_children
from django_layercache.stores.base import PENDING, Entry, Reading, Token, TokenState
from django_layercache.stores.shelf import Shelf, monotonic

__all__ = ["LocalStore"]


class LocalStore:
    """Tokens, marks and entries in dictionaries, under one lock.

    *max_bytes* bounds what the entries take; *max_tags* how many tokens are kept, which takes
    about 200 bytes more for each (the oldest are forgotten first, which is safe: a missing token
    is minted anew, and that makes the entries under it unreachable). Marks are never forgotten
    before their lease.
    """

    exact = True
    in_process = True

    def __init__(
        self,
        *,
        max_bytes: int = 64 * 1024 * 1024,
        max_tags: int = 250_000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._max_tags = max_tags
        self._clock = clock
        self._lock = renewed_in_children(threading.Lock())
        self._tokens: dict[str, Token] = {}
        self._marks: dict[str, dict[str, float]] = {}
        self._entries = Shelf(max_bytes, self._lock, clock, has_tokens=False)
        self._generation = secrets.token_hex(4)
        self._sequence = 0

    # -- the contract ---------------------------------------------------------------------

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        with self._lock:
            return self._read(key, tags)

    def read_many(self, requests: Sequence[tuple[str | None, Sequence[str]]]) -> list[Reading]:
        with self._lock:
            return [self._read(key, tags) for key, tags in requests]

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        with self._lock:
            self._entries.put(key, entry, timeout)

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        with self._lock:
            expires = self._clock() + lease
            for tag in tags:
                self._tokens.pop(tag, None)
                self._marks.setdefault(tag, {})[writer] = expires

    def release(self, writer: str, tags: Iterable[str]) -> None:
        with self._lock:
            for tag in tags:
                self._remove_mark(writer, tag)
                if not self._is_marked(tag):
                    self._publish(tag)

    def delete(self, key: str) -> None:
        with self._lock:
            self._entries.drop(key)

    def reset(self) -> None:
        # The marks stay: their writers have not committed yet.
        with self._lock:
            self._generation = secrets.token_hex(4)
            self._tokens.clear()
            self._entries.clear()

    def end_grace(self, sequence: Token) -> None:
        pass  # a process does not lose its own marks

    def close(self) -> None:
        pass

    # -- tags, with the lock held ---------------------------------------------------------

    def _read(self, key: str | None, tags: Sequence[str]) -> Reading:
        tokens = self._tokens
        slot = self._entries.get(key) if key is not None else None
        states: dict[str, TokenState] = {}
        if slot is not None:
            for tag in slot.entry.tokens:
                states[tag] = tokens.get(tag) or self._mint(tag)
        for tag in tags:
            if tag not in states:
                states[tag] = tokens.get(tag) or self._mint(tag)
        sequence = self._format(self._sequence)
        if slot is None:
            return Reading(None, states, sequence)
        left = None if slot.expires is None else slot.expires - self._clock()
        return Reading(slot.entry, states, sequence, left=left, slot=slot)

    def _mint(self, tag: str) -> TokenState:
        return PENDING if self._is_marked(tag) else self._publish(tag)

    def _is_marked(self, tag: str) -> bool:
        marks = self._marks.get(tag)
        if marks is None:
            return False
        now = self._clock()
        for writer in [writer for writer, expires in marks.items() if expires <= now]:
            del marks[writer]
        if not marks:
            del self._marks[tag]
        return bool(marks)

    def _remove_mark(self, writer: str, tag: str) -> None:
        marks = self._marks.get(tag, {})
        marks.pop(writer, None)
        if not marks:
            self._marks.pop(tag, None)

    def _publish(self, tag: str) -> Token:
        self._sequence += 1
        token = self._format(self._sequence)
        self._tokens.pop(tag, None)
        self._tokens[tag] = token
        if len(self._tokens) > self._max_tags:
            del self._tokens[next(iter(self._tokens))]
        return token

    def _format(self, sequence: int) -> Token:
        return f"{self._generation}{sequence:016d}"
