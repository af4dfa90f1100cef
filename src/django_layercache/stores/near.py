"""The near tier: entries in this process, in front of a shared store.

An entry in this process may be used if its tokens are the current ones. *How current* is what the
levels of freshness differ in, and a :class:`Known` stands for one of them: tokens that may be
used without asking the shared store. ``strict`` has none, so the tokens are fetched at each read,
and the entry is not; ``request`` and ``pushed`` have rooms of their own
(:mod:`~django_layercache.stores.near_request`, :mod:`~django_layercache.stores.near_pushed`).

Only tokens of settled tags are ever known. Whatever is not known is asked, in one reading of the
shared store's, so that a pending tag is seen as such.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from django_layercache.forks import renewed_in_children
from django_layercache.stores.awaited import awaited
from django_layercache.stores.base import Entry, Reading, Store, Token, TokenState
from django_layercache.stores.shelf import Shelf, monotonic

__all__ = ["Known", "NearStore", "NothingKnown", "Tokens"]


@dataclass(slots=True, eq=False)
class Tokens:
    """Tokens of settled tags. ``position`` was the store's sequence's when the last of them was fetched, or before."""

    by_tag: dict[str, Token]
    position: Token = ""


class Known(Protocol):
    """Tokens that may be used without asking the shared store."""

    def tokens(self) -> Tokens | None:
        """Those that may be used now; ``None`` if the store has to be asked."""
        ...

    def begin(self) -> Any:
        """A ticket for :meth:`learn`, to be taken before the store is asked."""
        ...

    def learn(self, ticket: Any, reading: Reading) -> None:
        """*reading* was fetched after *ticket* had been taken."""
        ...

    def forget(self, tags: Iterable[str]) -> None:
        """This process changes *tags*. Readings that began before this teach nothing about them."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class NothingKnown:
    """``strict``: tokens are fetched at each read."""

    def tokens(self) -> None:
        return None

    def begin(self) -> None:
        return None

    def learn(self, ticket: Any, reading: Reading) -> None:
        pass

    def forget(self, tags: Iterable[str]) -> None:
        pass

    def clear(self) -> None:
        pass

    def close(self) -> None:
        pass


Request = tuple[str | None, Sequence[str]]
#: A reading without its I/O: yields what to ask the shared store, is sent the answer.
Asking = Generator[Request, Reading, Reading]


class NearStore:
    """*store*, with what was read from it and written to it kept in this process.

    *max_bytes* bounds the entries and their decoded values. *must_ask* says that known tokens may
    not be used here: the reader's transaction sees a snapshot, and they may be older than that.
    """

    def __init__(
        self,
        store: Store,
        known: Known | None = None,
        *,
        max_bytes: int = 64 * 1024 * 1024,
        must_ask: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.shared = store
        self.exact = store.exact
        self.in_process = store.in_process
        self._awaited = awaited(store)
        self._known: Known = NothingKnown() if known is None else known
        self._must_ask = must_ask
        self._clock = clock
        self._lock = renewed_in_children(threading.Lock())
        self._shelf = Shelf(max_bytes, self._lock, clock)

    # -- the contract ---------------------------------------------------------------------

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        asking = self._read_or_remember(key, tags)
        try:
            wanted = next(asking)
            while True:
                wanted = asking.send(self._fetch([wanted])[0])
        except StopIteration as done:
            return cast("Reading", done.value)

    def read_many(self, requests: Sequence[Request]) -> list[Reading]:
        return self._run([self._read_or_remember(*request) for request in requests])

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        self.shared.write(key, entry, timeout)
        with self._lock:
            self._shelf.put(key, entry, timeout)

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        with self._changing(tags := list(tags)):
            self.shared.mark(writer, tags, lease)

    def release(self, writer: str, tags: Iterable[str]) -> None:
        with self._changing(tags := list(tags)):
            self.shared.release(writer, tags)

    @contextmanager
    def _changing(self, tags: list[str]) -> Iterator[None]:
        # Before: whatever is read from now on is asked. After: what was asked meanwhile is not
        # learned, as nobody knows whether it was answered before the change or after it.
        self._known.forget(tags)
        try:
            yield
        finally:
            self._known.forget(tags)

    def delete(self, key: str) -> None:
        with self._lock:
            self._shelf.drop(key)
        self.shared.delete(key)

    def reset(self) -> None:
        with self._lock:
            self._shelf.clear()
        try:
            self.shared.reset()
        finally:
            self._known.clear()

    def end_grace(self, sequence: Token) -> None:
        self.shared.end_grace(sequence)

    def close(self) -> None:
        self._known.close()
        self.shared.close()

    async def aread(self, key: str | None, tags: Sequence[str]) -> Reading:
        return (await self.aread_many([(key, tags)]))[0]

    async def aread_many(self, requests: Sequence[Request]) -> list[Reading]:
        return await self._arun([self._read_or_remember(*request) for request in requests])

    async def awrite(self, key: str, entry: Entry, timeout: float | None) -> None:
        await self._awaited.awrite(key, entry, timeout)
        with self._lock:
            self._shelf.put(key, entry, timeout)

    # -- reading, without the I/O ---------------------------------------------------------

    def _remembered(self, key: str | None, tags: Sequence[str]) -> Reading | None:
        """The answer without asking anybody, if that is possible."""
        tokens = self._known.tokens()
        if tokens is None or (key is None and not tags):  # who asks for nothing asks for the time
            return None
        slot = None if key is None else self._slot(key)
        if key is not None and slot is None:
            return None
        states = _states(tokens.by_tag, slot.entry.tokens if slot else {}, tags)
        if states is None or not tokens.position or self._must_ask():
            return None
        entry = slot.entry if slot else None
        return Reading(entry, states, tokens.position, slot=slot)

    def _read_or_remember(self, key: str | None, tags: Sequence[str]) -> Asking:
        reading = self._remembered(key, tags)
        return (yield from self._read(key, tags)) if reading is None else reading

    def _read(self, key: str | None, tags: Sequence[str]) -> Asking:
        ticket, began = self._known.begin(), self._clock()
        slot = None if key is None else self._slot(key)
        if slot is not None:
            entry = slot.entry
            seen = yield None, list(dict.fromkeys((*tags, *entry.tokens)))
            if _is_current(entry, seen):
                self._known.learn(ticket, seen)
                return Reading(entry, seen.states, seen.sequence, seen.in_grace, slot=slot)
        seen = yield key, tags
        self._known.learn(ticket, seen)
        return self._kept(key, seen, began)

    def _kept(self, key: str | None, reading: Reading, began: float) -> Reading:
        """*reading*, with its entry in this process if it is worth it."""
        entry = reading.entry
        if key is None or entry is None or not _is_current(entry, reading):
            return reading
        left = reading.left
        if left is not None:
            left -= self._clock() - began
            if left <= 0:
                return reading
        with self._lock:
            return replace(reading, slot=self._shelf.put(key, entry, left))

    def _slot(self, key: str) -> Any:
        with self._lock:
            return self._shelf.get(key)

    # -- the I/O --------------------------------------------------------------------------

    def _run(self, askings: Sequence[Asking]) -> list[Reading]:
        """What *askings* return; what they ask for at the same time is fetched at once."""
        rounds = _in_rounds(askings)
        try:
            wanted = next(rounds)
            while True:
                wanted = rounds.send(self._fetch(wanted))
        except StopIteration as done:
            return cast("list[Reading]", done.value)

    async def _arun(self, askings: Sequence[Asking]) -> list[Reading]:
        rounds = _in_rounds(askings)
        try:
            wanted = next(rounds)
            while True:
                wanted = rounds.send(await self._afetch(wanted))
        except StopIteration as done:
            return cast("list[Reading]", done.value)

    def _fetch(self, wanted: Sequence[Request]) -> list[Reading]:
        if len(wanted) == 1:
            return [self.shared.read(*wanted[0])]
        return self.shared.read_many(wanted)

    async def _afetch(self, wanted: Sequence[Request]) -> list[Reading]:
        if len(wanted) == 1:
            return [await self._awaited.aread(*wanted[0])]
        return await self._awaited.aread_many(wanted)


def _in_rounds(
    askings: Sequence[Asking],
) -> Generator[Sequence[Request], Sequence[Reading], list[Reading]]:
    done: dict[int, Reading] = {}
    wanted: dict[int, Request] = {}
    answers: Mapping[int, Any] = dict.fromkeys(range(len(askings)))  # who has begun gets None
    while answers:
        wanted = {}
        for number, answer in answers.items():
            try:
                wanted[number] = askings[number].send(answer)
            except StopIteration as end:
                done[number] = end.value
        fetched = (yield list(wanted.values())) if wanted else ()
        answers = dict(zip(wanted, fetched, strict=True))
    return [done[number] for number in range(len(askings))]


def _is_current(entry: Entry, reading: Reading) -> bool:
    if not entry.tokens:
        return entry.generation == reading.sequence[:8]
    return entry.tokens.items() <= reading.states.items()


def _states(
    known: Mapping[str, Token], of_entry: Mapping[str, Token], tags: Sequence[str]
) -> dict[str, TokenState] | None:
    """The states of all of them, if all are known, and the entry's are its own."""
    states: dict[str, TokenState] = {}
    for tag, token in of_entry.items():
        if known.get(tag) != token:
            return None
        states[tag] = token
    for tag in tags:
        state = known.get(tag)
        if state is None:
            return None
        states[tag] = state
    return states
