"""Any store, awaited: those that cannot do it themselves in place, or in threads."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django_layercache.stores.base import AsyncStore, Entry, Reading, Store

__all__ = ["awaited"]

T = TypeVar("T")


def awaited(store: Store) -> AsyncStore:
    """*store*, as code on an event loop may use it."""
    if isinstance(store, AsyncStore):
        return store
    return InPlace(store) if store.in_process else InThreads(store)


class InPlace:
    """A store that never waits."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    async def aread(self, key: str | None, tags: Sequence[str]) -> Reading:
        return await self._run(self._store.read, key, tags)

    async def aread_many(
        self, requests: Sequence[tuple[str | None, Sequence[str]]]
    ) -> list[Reading]:
        return await self._run(self._store.read_many, requests)

    async def awrite(self, key: str, entry: Entry, timeout: float | None) -> None:
        await self._run(self._store.write, key, entry, timeout)


class InThreads(InPlace):
    """A store that keeps a thread waiting, which must not be the event loop's."""

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.to_thread(function, *args)
