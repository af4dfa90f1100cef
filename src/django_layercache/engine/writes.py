"""Writing: collect dirty tags, mark, commit, release.

The order is the protocol, and the caller keeps it::

    write.touch(tags)        as statements change things
    write.mark()             right before COMMIT (in autocommit: before the statement)
    COMMIT
    write.release()          right after, before anything of the user's runs

A writer that dies between mark and release leaves its marks to their lease.
"""

import secrets
from collections.abc import Iterable
from contextlib import nullcontext

from django_layercache.engine.outages import Outages
from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import Store
from django_layercache.stores.breaker import insisting
from django_layercache.tags import widened

__all__ = ["Write"]


class Write:
    """The tags that one transaction (or one statement in autocommit) changes."""

    __slots__ = (
        "__weakref__", "_is_unmarked", "_lease", "_marked", "_outages", "_store", "_writer", "dirty",
    )  # fmt: skip

    def __init__(self, store: Store, outages: Outages, lease: float) -> None:
        self._store = store
        self._outages = outages
        self._lease = lease
        self._writer = secrets.token_hex(8)
        self._marked: frozenset[str] = frozenset()
        #: The marks were tried, and could not be placed.
        self._is_unmarked = False
        #: Changed by this transaction; not to be read from the store inside it.
        self.dirty: set[str] = set()

    @property
    def is_marked(self) -> bool:
        """Whether marks were placed, or tried, that :meth:`release` has not taken away."""
        return bool(self._marked)

    def is_for(self, store: Store) -> bool:
        """Whether the marks go to *store*."""
        return self._store is store

    def touch(self, tags: Iterable[str]) -> set[str]:
        """*tags* are dirty; returns those that were not before."""
        added = set(widened(tags)) - self.dirty
        self.dirty |= added
        return added

    def mark(self) -> list[str]:
        """Mark all dirty tags in one round trip.

        Returns the tags that could not be marked because the store is away; the caller puts
        them in its outbox *before* it commits, or refuses to commit.
        """
        if not self.dirty:
            return []
        self._marked = frozenset(self.dirty)
        try:
            self._store.mark(self._writer, self._marked, self._lease)
        except StoreUnavailable as error:
            self._is_unmarked = True
            self._outages.hold(self, error)
            return sorted(self._marked)
        return []

    def release(self, *, is_committed: bool = True) -> None:
        """Take the marks away, under new tokens, and begin anew. Never fails.

        What was committed without marks has to be told now: the store may be back already, and
        others may trust it.
        """
        if self._marked:
            try:
                with insisting() if self._is_unmarked and is_committed else nullcontext():
                    self._store.release(self._writer, self._marked)
            except StoreUnavailable:
                # The lease covers it where the mark was placed; the debt covers the rest.
                self._outages.owe(self._marked, writer=self._writer)
        self.abandon()

    def abandon(self) -> None:
        """Leave the marks to their lease: nobody knows whether the commit happened."""
        self._marked, self._is_unmarked = frozenset(), False
        self._outages.let_go(self)
        self.forget()

    def forget(self) -> None:
        """Nothing was changed after all (ROLLBACK), or it has been released."""
        self.dirty.clear()
        self._writer = secrets.token_hex(8)
