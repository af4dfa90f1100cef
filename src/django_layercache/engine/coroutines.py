"""The engine in async code, too: the same decisions around I/O that is awaited."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from django_layercache.engine.attempts import MISS, Attempt
from django_layercache.engine.core import Core, asked
from django_layercache.engine.isolation import objection
from django_layercache.engine.recipes import Recipe
from django_layercache.engine.scopes import open_scope, recording_scope
from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.awaited import awaited
from django_layercache.stores.base import Entry, Reading, Store

__all__ = ["Engine"]


class Engine(Core):
    """All layers of a project share one; its arguments are those of :class:`Core`."""

    def __init__(self, store: Store, **options: Any) -> None:
        super().__init__(store, **options)
        self._awaited = awaited(store)

    async def aget_or_build(self, recipe: Recipe, build: Callable[[], Awaitable[Any]]) -> Any:
        """:meth:`get_or_build` with an async *build*; nothing waits on the event loop's thread."""
        attempt = self._attempt(recipe)
        if not self._may_use_store(attempt):
            return await self._abuild(attempt, build)
        await self.outages.alook_around(self._awaited)
        value = await self._alook(attempt, recipe.key)
        if value is not MISS:
            return value
        if self._must_not_wait(attempt):
            return await self._abuild(attempt, build)
        with self._flights.lead_or_join(recipe.key) as flight:
            if flight is not None:
                await flight.await_()
                value = await self._alook(attempt, recipe.key)
                if value is not MISS:
                    return value
            return await self._abuild(attempt, build)

    async def arefresh(self, recipe: Recipe, build: Callable[[], Awaitable[Any]]) -> Any:
        """:meth:`refresh` with an async *build*."""
        attempt = self._attempt(recipe)
        if self._may_use_store(attempt):
            await self._alook(attempt, None)
        return await self._abuild(attempt, build)

    async def aget_many(
        self, requests: Sequence[tuple[Recipe, Callable[[], Awaitable[Any]]]]
    ) -> list[Any]:
        """:meth:`get_many` with async builders, which run together."""
        attempts, usable = self._attempts(requests)
        if usable:
            await self.outages.alook_around(self._awaited)
        try:
            readings = await self._awaited.aread_many(asked(usable)) if usable else []
        except StoreUnavailable:
            readings = self._all_failed(usable)
        values = self._judged(usable, readings)
        missing = [
            (attempt, build)
            for attempt, (_, build) in zip(attempts, requests, strict=True)
            if values[attempt] is MISS
        ]
        built = await asyncio.gather(*(self._abuild(*one) for one in missing))
        values.update((attempt, value) for (attempt, _), value in zip(missing, built, strict=True))
        return [values[attempt] for attempt in attempts]

    async def aobserve(self, tags: Sequence[str]) -> None:
        """:meth:`observe`, awaited."""
        scope = recording_scope()
        if scope is None:
            return
        fetched, missing = self._known(scope, tags)
        if missing:
            try:
                fetched.observe((await self._aread(None, missing)).states)
            except StoreUnavailable:
                self._fetch_failed(fetched)
        why = fetched.objection or objection(self.isolation(), fetched.states)
        scope.observe(fetched.states, why)

    async def aget_hint(self, key: str) -> bytes | None:
        """:meth:`get_hint`, awaited."""
        if self.outages.in_debt:
            return None
        try:
            return self._hint_in(await self._aread(key, ()))
        except StoreUnavailable:
            self.outages.owe()
            return None

    async def akeep_hint(self, key: str, hint: bytes, timeout: float | None) -> None:
        """:meth:`keep_hint`, awaited."""
        if not self.outages.in_debt:
            await self._awrite(self._hint(hint), key, timeout)

    async def _alook(self, attempt: Attempt, key: str | None) -> Any:
        try:
            reading = await self._aread(key, attempt.recipe.tags)
        except StoreUnavailable:
            self._store_failed(attempt)
            return MISS
        return self._judge(attempt, reading)

    async def _abuild(self, attempt: Attempt, build: Callable[[], Awaitable[Any]]) -> Any:
        try:
            with open_scope(attempt.scope):
                value = await build()
        except BaseException:
            attempt.fail()
            raise
        entry = self._finish(attempt, value, attempt.settle(value))
        if entry is not None:
            await self._awrite(entry, *attempt.recipe.placed(value))
        return value

    async def _aread(self, key: str | None, tags: Sequence[str]) -> Reading:
        return self._noticed(await self._awaited.aread(key, tags))

    async def _awrite(self, entry: Entry, key: str, timeout: float | None) -> None:
        try:
            await self._awaited.awrite(key, entry, self._jittered(timeout))
        except StoreUnavailable:
            self.outages.owe()
