"""Single flight: of all who miss the same key at once in this process, one builds.

The others wait and then look in the store again; so they get what is fresh for *them*, by
the same rules as any reader, and never an error that was not theirs. Whoever finds nothing
even then (the value could not be stored, the builder failed) builds without waiting again.

The wait is bounded, because who waits may hold what the builder needs: a lock, or the last
connection of a pool. The first to wait loses patience first and builds, the next one later;
so a slow builder is helped by one more each time, and not by all at once.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django_layercache.forks import forget_in_children, renewed_in_children

__all__ = ["Flights"]

_mine: ContextVar[frozenset[str]] = ContextVar("layercache_flights", default=frozenset())


class Flights:
    """The keys that are being built now, each with what its waiters wait for.

    *patience* is how long the first to wait does so, in seconds; the second twice that long.
    """

    def __init__(self, patience: float = 1.0) -> None:
        self._patience = patience
        self._lock = renewed_in_children(threading.Lock())
        self._flights: dict[str, _Flight] = {}
        forget_in_children(self)

    def forget(self) -> None:
        """In a child of this process nobody builds but the thread that has forked it."""
        self._flights = {}

    @contextmanager
    def lead_or_join(self, key: str) -> Iterator["_Flight | None"]:
        """Yield ``None`` to the one that is to build *key*, the flight to wait for to the others."""
        if key in _mine.get():
            yield None  # building it needs it: no use in waiting for oneself
            return
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight(self._patience)
        if not leads:
            try:
                yield flight
            finally:
                flight.land()  # whoever has built instead has stored it, too
            return
        reset = _mine.set(_mine.get() | {key})
        try:
            yield None
        finally:
            _mine.reset(reset)
            with self._lock:
                if self._flights.get(key) is flight:
                    del self._flights[key]
            flight.land()


class _Flight:
    #: No one waits longer than this many times the patience of the first.
    MOST = 10

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._joined = 0
        self._landed = renewed_in_children(threading.Event())
        self._lock = renewed_in_children(threading.Lock())
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def wait(self) -> None:
        self._landed.wait(self._patience_of_next())

    async def await_(self) -> None:
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            if self._landed.is_set():
                return
            self._waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter[1].wait(), self._patience_of_next())
        except TimeoutError:
            pass

    def _patience_of_next(self) -> float:
        self._joined += 1
        return self._patience * min(self._joined, self.MOST)

    def land(self) -> None:
        with self._lock:
            self._landed.set()
            waiters = self._waiters
        for loop, event in waiters:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                pass  # its loop has ended, and with it the one who waited
