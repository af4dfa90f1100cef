"""A circuit breaker: a server that just failed is not asked again by everybody at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django_layercache.exceptions import StoreUnavailable
from django_layercache.forks import renewed_in_children

__all__ = ["Breaker", "insisting"]

_insists: ContextVar[bool] = ContextVar("layercache_insists", default=False)


@contextmanager
def insisting() -> Iterator[None]:
    """Inside, a server is asked whatever the breaker says."""
    reset = _insists.set(True)
    try:
        yield
    finally:
        _insists.reset(reset)


class Breaker:
    """Open after a failure, for *shortest* seconds, doubling up to *longest*; then one caller probes.

    Nobody else does before that one has an answer, or *longest* is over: it may have been
    interrupted.
    """

    def __init__(self, *, shortest: float = 0.1, longest: float = 2.0) -> None:
        self._shortest = shortest
        self._longest = longest
        self._pause = shortest
        self._why: object = ""
        self._retry_at: float | None = None
        self._is_probed = False
        self._lock = renewed_in_children(threading.Lock())

    def check(self) -> None:
        """Raise :exc:`StoreUnavailable` while open; let one caller through when it is time to probe."""
        if self._retry_at is None or _insists.get():
            return
        with self._lock:
            if self._retry_at is None:
                return
            now = time.monotonic()
            if now < self._retry_at:
                raise StoreUnavailable(f"the store failed a moment ago: {self._why}")
            self._retry_at = now + self._longest
            self._is_probed = True

    def failed(self, why: object) -> None:
        """*why* is for whoever looks for the cause while the server is not asked."""
        with self._lock:
            self._why = str(why)
            now = time.monotonic()
            if self._retry_at is not None and now < self._retry_at and not self._is_probed:
                return  # many were on their way, and all of them notice the same
            self._is_probed = False
            self._retry_at = now + self._pause
            self._pause = min(self._pause * 2, self._longest)

    def succeeded(self) -> None:
        if self._retry_at is not None:
            with self._lock:
                self._retry_at = None
                self._is_probed = False
                self._pause = self._shortest
