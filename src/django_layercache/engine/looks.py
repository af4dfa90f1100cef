"""Looks into the outbox while the store answers: who has left something there may have died.

Not each process looks, but one of all that use the store and the same outboxes: whoever has looked
leaves a note in the store, which is gone when it is time to look again. A look is a thread and a
connection to each database, which is no little in a site of many processes.

Why not with less: a connection that is kept keeps others from dropping the database (test suites do
that), and is one more for each process; the connection of whoever reads is open only where there is
something to read, and a query on it would be seen by whoever counts the queries of a view.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Protocol

from django_layercache.exceptions import StoreUnavailable
from django_layercache.forks import renewed_in_children
from django_layercache.stores.base import AsyncStore, Entry, Reading, Store

__all__ = ["EVERY", "Looks", "Outbox"]

#: Seconds from one look to the next.
EVERY = 1.0
#: Up to so many seconds earlier somebody looks, by chance: all others then find the note of that one.
_EARLIER = 0.3

logger = logging.getLogger("django_layercache.engine")


class Outbox(Protocol):
    """Where transactions leave the tags that they could not mark: the database that they changed."""

    def drain(self, touch: Callable[[Iterable[str]], None]) -> None:
        """Call *touch* with the tags of everything in the outbox, then remove it. May raise anything.

        What cannot be read may hold anything, and *touch* is to hear of that.
        """
        ...

    def look(self, touch: Callable[[Iterable[str]], None]) -> bool:
        """:meth:`drain` what can be read; whether that is everything."""
        ...

    def place(self) -> str:
        """The same in two processes if they look into the same outboxes. Asks no database."""
        ...


class Looks:
    """Those of one process. *touch* gives tags new tokens in *store*."""

    def __init__(
        self, store: Store, outbox: Outbox, touch: Callable[[Iterable[str]], None]
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._touch = touch
        self._lock = renewed_in_children(threading.Lock())
        self._next_at = 0.0

    def wait_for_next(self, seconds: float = EVERY) -> None:
        """There was a look: no other one before so many *seconds* are over."""
        self._next_at = time.monotonic() + seconds

    def look_around(self, patience: float = 1.0) -> None:
        """Look if it is time, and wait for that; for *patience* seconds at the most."""
        if not self._is_mine():
            return
        try:
            reading = self._store.read(self._note(), ())
        except StoreUnavailable:
            return  # whoever needs it notices
        if not self._was_done(reading):
            wait([self._begin()], patience)

    async def alook_around(self, store: AsyncStore, patience: float = 1.0) -> None:
        """:meth:`look_around`, while the event loop goes on."""
        if not self._is_mine():
            return
        try:
            reading = await store.aread(self._note(), ())
        except StoreUnavailable:
            return
        if not self._was_done(reading):
            await asyncio.wait([asyncio.wrap_future(self._begin())], timeout=patience)

    def _is_mine(self) -> bool:
        """Whether it is time, and nobody else in this process is at it."""
        if time.monotonic() < self._next_at:
            return False
        with self._lock:
            if time.monotonic() < self._next_at:
                return False
            self.wait_for_next()
            return True

    def _was_done(self, reading: Reading) -> bool:
        """Whether there is a note. Its time to live begins with the look."""
        if reading.entry is None or reading.left is None:
            return False
        left = min(reading.left, EVERY) - random.random() * _EARLIER  # noqa: S311 - guards nothing
        if left > 0:
            self.wait_for_next(left)
        return left > 0

    def _note(self) -> str:
        return f"outbox:{self._outbox.place()}"

    def _begin(self) -> "Future[None]":
        # In a thread of its own, as the outbox is in the database, and the caller's connection may
        # be in the middle of something; and never the same one, so that its connections, which are
        # closed when it ends, keep nobody from dropping a database.
        done: Future[None] = Future()
        threading.Thread(
            target=self._look, args=(done,), name="layercache-outbox", daemon=True
        ).start()
        return done

    def _look(self, done: "Future[None]") -> None:
        began = time.monotonic()
        try:
            is_complete = self._outbox.look(self._touch)
            left = began + EVERY - time.monotonic()
            if is_complete and left > 0:
                self._store.write(self._note(), Entry({}, b""), left)
        except Exception:
            # The store, or a database, is away. Whoever needs it notices.
            logger.debug("The outbox cannot be looked into.", exc_info=True)
        finally:
            done.set_result(None)
