"""When the store was away: what it missed is made good before it is trusted again.

A process that could not reach the store is *in debt*. While it is, all its reads bypass. A
thread of its own tries the store, gives new tokens to the tags of commits that happened
meanwhile (this process's own, and those that any process put in the outbox), and then ends
the debt.
"""

import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakSet

from django_layercache.engine.looks import Looks, Outbox
from django_layercache.exceptions import StoreUnavailable
from django_layercache.forks import forget_in_children, renewed_in_children
from django_layercache.stores.base import AsyncStore, Store

__all__ = ["Outages"]

#: A writer that has no marks.
_NOBODY = "outage"

logger = logging.getLogger("django_layercache.engine")


class Outages:
    """The debt of one process towards one store. *pause* is the time between two tries, in seconds."""

    def __init__(self, store: Store, outbox: Outbox | None = None, pause: float = 0.1) -> None:
        self.outbox = outbox
        self._store = store
        self._pause = pause
        self._lock = renewed_in_children(threading.Lock())
        #: Tags, by the writer whose marks may be on them.
        self._owed: dict[str, set[str]] = {}
        self._owes_everything = False
        self._in_debt = False
        self._debts = 0
        self._thread: threading.Thread | None = None
        self._announced = self._complained = False
        #: Why the store is not trusted, as far as anybody knows.
        self.why = ""
        #: What kept the latest marks from being placed.
        self._latest = ""
        #: How many commits of this outage are in no outbox, by where they were.
        self._not_left: Counter[str] = Counter()
        self._unmarked: WeakSet[Any] = WeakSet()
        self._tried = renewed_in_children(threading.Event())
        self._looks = (
            None if store.in_process or outbox is None else Looks(store, outbox, self._touch)
        )
        forget_in_children(self)

    def forget(self) -> None:
        """A child of this process inherits what is owed; who was about to write is the parent's business."""
        self._unmarked = WeakSet()

    @property
    def in_debt(self) -> bool:
        """Whether the store is not to be trusted now."""
        if not self._in_debt:
            return False
        if self._has_no_payer():  # a fork inherits the debt, and no threads
            with self._lock:
                self._see_that_it_is_paid()
        return True

    @property
    def objection(self) -> str:
        """What is to be said of a store in debt."""
        return f"the store is not trusted: {self.why or 'it may have missed something'}"

    def owe(
        self, tags: Iterable[str] = (), *, writer: str = _NOBODY, everything: bool = False
    ) -> None:
        """The store did not answer; *tags* were committed that it does not know of.

        *writer* has tried to mark them. A server that was slow places the marks when nobody
        waits for that any more: they are released under the same name.
        """
        with self._lock:
            self._add({writer: set(tags)})
            self._owes_everything |= everything
            self._debts += 1
            self._announce()
            self._in_debt = True
            self._see_that_it_is_paid()

    def owe_everything(self) -> None:
        """The store has missed nobody knows what."""
        self.owe(everything=True)

    def begin(self) -> None:
        """A process begins in debt: it does not know what others have left in the outbox."""
        self._in_debt = self._in_debt or self._looks is not None

    def settle_first(self, patience: float) -> None:
        """Try to pay the debt of the beginning, and wait for that; for *patience* seconds at the most."""
        with self._lock:
            self._see_that_it_is_paid()
        self._tried.wait(patience)

    def look_around(self) -> None:
        """Once in a while, see what is in the outbox: see :class:`Looks`."""
        if self._looks is not None and not self._in_debt:
            self._looks.look_around()

    async def alook_around(self, store: AsyncStore) -> None:
        """:meth:`look_around`, awaited."""
        if self._looks is not None and not self._in_debt:
            await self._looks.alook_around(store)

    def not_left(self, where: str) -> bool:
        """There is no outbox *where* something was committed; whether that is news in this outage."""
        with self._lock:
            self._not_left[where] += 1
            return self._not_left[where] == 1

    def hold(self, write: Any, error: StoreUnavailable) -> None:
        """*write* is going to commit without marks, for *error*: no debt ends before it has told the store."""
        with self._lock:
            self._unmarked.add(write)
            self._latest = str(error)

    def let_go(self, write: Any) -> None:
        """*write* has released, or given up."""
        with self._lock:
            self._unmarked.discard(write)

    def _see_that_it_is_paid(self) -> None:
        if self._in_debt and self._has_no_payer():
            self._thread = threading.Thread(
                target=self._pay_until_clear, name="layercache-outage", daemon=True
            )
            self._thread.start()

    def _has_no_payer(self) -> bool:
        return self._thread is None or not self._thread.is_alive()

    def _pay_until_clear(self) -> None:
        while not self._pay():
            self._tried.set()
            threading.Event().wait(self._pause)
        self._tried.set()

    def _pay(self) -> bool:
        with self._lock:
            debts = self._debts
            owed, self._owed = self._owed, {}
            everything, self._owes_everything = self._owes_everything, False
        if not self._settle(owed, everything):
            with self._lock:
                self._add(owed)
                self._owes_everything |= everything
            return False
        with self._lock:
            if self._debts != debts or self._unmarked:
                return False  # something new was missed meanwhile, or is about to be
            announced, not_left = self._announced, self._not_left
            self._not_left = Counter()
            self._in_debt = self._announced = self._complained = False
            self.why = ""
            self._thread = None
            if self._looks is not None:
                self._looks.wait_for_next()
        if announced or not_left:
            logger.warning("The store is back, and knows what it missed.%s", _told(not_left))
        return True

    def _add(self, owed: Mapping[str, set[str]]) -> None:
        for writer, tags in owed.items():
            if tags:
                self._owed.setdefault(writer, set()).update(tags)

    def _settle(self, owed: Mapping[str, set[str]], everything: bool) -> bool:
        try:
            self._store.read(None, ())  # does it answer at all?
            if everything:
                self._store.reset()
            for writer, tags in owed.items():
                self._store.release(writer, tags)
            if self.outbox is not None:
                self.outbox.drain(self._touch)
        except StoreUnavailable:
            self._announce()
            return False
        except Exception as error:
            self.why = f"the outbox cannot be drained: {error}"
            if not self._complained:  # once, not with each try
                logger.exception("The outbox cannot be drained; the store is not trusted.")
            self._complained = True
            return False
        return True

    def _announce(self) -> None:
        error = sys.exception()  # that it is away was caught, as a rule, by our caller
        said = str(error) if isinstance(error, StoreUnavailable) else self._latest
        why = f": {said.rstrip('.')}" if said else ""
        self.why = f"the store is away{why}"
        if not self._announced:
            self._announced = True
            logger.warning(
                "The store is away%s. Everything is read from the database until it is back.", why
            )

    def _touch(self, tags: Iterable[str]) -> None:
        # A release of a mark that is not there draws a new token all the same.
        if tags := list(tags):
            self._store.release(_NOBODY, tags)


def _told(not_left: Mapping[str, int]) -> str:
    if not not_left:
        return ""
    places = ", ".join(f"{count} in {where!r}" for where, count in sorted(not_left.items()))
    return (
        f" There was no outbox for some commits ({places}): until now other processes may have "
        "served what these had changed."
    )
