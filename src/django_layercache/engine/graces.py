"""The grace after a store has lost its marks, ended as early as it can be known to be over.

A mark that was lost belongs to a writer that is about to commit. Once every transaction that
was open at that moment has ended, there is none; a database that can tell which are open
(PostgreSQL) makes the grace as short as that. Without one, time has to do.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from django_layercache.exceptions import StoreUnavailable
from django_layercache.forks import renewed_in_children
from django_layercache.stores.base import Reading, Store, Token

__all__ = ["Graces", "OpenTransactions"]

logger = logging.getLogger("django_layercache.engine")


class OpenTransactions(Protocol):
    """The databases, as far as they tell which transactions are open."""

    def remember(self) -> Callable[[], bool]:
        """Remember those that are open now; return a function that tells whether all have ended."""
        ...


class Graces:
    """Ends the graces of one store. *shortest* is how long one lasts at the least, in seconds.

    It covers a statement in autocommit, which has marked but has not begun yet and so is no
    transaction that a database knows of.
    """

    def __init__(
        self,
        store: Store,
        transactions: OpenTransactions,
        shortest: float = 1.0,
        pause: float = 0.05,
    ) -> None:
        self._store = store
        self._transactions = transactions
        self._shortest = shortest
        self._pause = pause
        self._lock = renewed_in_children(threading.Lock())
        self._noticed: str | None = None

    def notice(self, reading: Reading) -> None:
        """*reading* says that the store distrusts itself: see to it that it does not for long."""
        generation = reading.sequence[:8]
        with self._lock:
            if self._noticed == generation:
                return
            self._noticed = generation
        threading.Thread(
            target=self._end, args=(reading.sequence,), name="layercache-grace", daemon=True
        ).start()

    def _end(self, sequence: Token) -> None:
        try:
            have_ended = self._transactions.remember()
            threading.Event().wait(self._shortest)
            while not have_ended():
                threading.Event().wait(self._pause)
            self._store.end_grace(sequence)
        except StoreUnavailable:
            pass  # whoever finds it back notices the grace that it is in then
        except Exception:
            logger.exception(
                "Nobody knows which transactions are open; the grace lasts its full time."
            )
