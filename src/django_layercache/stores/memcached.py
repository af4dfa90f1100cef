"""The `memcached` store: a pool of memcached servers; exact by compare-and-swap.

The first server of the pool has the tags, the marks and the sequence of tokens; the entries are
spread over all. Nothing moves to another server when one is away: without the first the store is
away, without another one its entries are. Entries need no such care, as their tokens are checked
against those of the first server.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from math import ceil
from typing import Any, TypeVar, cast

from django_layercache.exceptions import StoreUnavailable, Undecodable
from django_layercache.serializers.reports import report_undecodable
from django_layercache.stores import entries
from django_layercache.stores.base import Entry, Reading, Token
from django_layercache.stores.memcached_commands import (
    Command,
    Delete,
    Get,
    Left,
    Refused,
    Set,
    Stats,
    Steps,
    one_by_one,
    pipeline,
)
from django_layercache.stores.memcached_generations import server_time
from django_layercache.stores.memcached_items import MANIFEST, Keys, manifest
from django_layercache.stores.memcached_tags import Tags
from django_layercache.stores.memcached_wire import Operation, Server
from django_layercache.stores.steps import awaited_to_the_end, carried_out

__all__ = ["MemcachedStore"]

logger = logging.getLogger("django_layercache.stores")

#: The most bytes that go in one item; a server takes 1 MiB, with the key and its own bookkeeping.
_PIECE = 1_000_000
#: A longer time to live would be taken for a date.
_LONGEST = 30 * 24 * 3600
#: Of how many entries it is remembered which tags they had, to ask for both at once.
_REMEMBERED = 10_000

T = TypeVar("T")


class MemcachedStore:
    """Tokens and marks on the first of *servers*, entries on all of them.

    *clock* tells the time from what the first server says of itself; *slack* is what is added to
    leases for the clock's coarseness, in seconds.
    """

    exact = True
    in_process = False

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        namespace: str = "",
        grace: float = 1.0,
        clock: Callable[[Mapping[bytes, bytes]], float] = server_time,
        slack: float = 2.0,
    ) -> None:
        self._servers = list(servers)
        self._first = self._servers[0]
        self._keys = Keys(namespace)
        self._tags = Tags(self._keys, grace=grace, clock=clock, slack=slack)
        self._remembered: dict[str, tuple[str, ...]] = {}

    # -- the contract ---------------------------------------------------------------------

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        return self.read_many([(key, tags)])[0]

    def read_many(self, requests: Sequence[tuple[str | None, Sequence[str]]]) -> list[Reading]:
        return carried_out(self._readings(requests), self._ask) if requests else []

    async def aread(self, key: str | None, tags: Sequence[str]) -> Reading:
        return (await self.aread_many([(key, tags)]))[0]

    async def aread_many(
        self, requests: Sequence[tuple[str | None, Sequence[str]]]
    ) -> list[Reading]:
        if not requests:
            return []
        return await awaited_to_the_end(self._readings(requests), self._aask)

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        carried_out(self._writing(key, entry, timeout), self._ask)

    async def awrite(self, key: str, entry: Entry, timeout: float | None) -> None:
        await awaited_to_the_end(self._writing(key, entry, timeout), self._aask)

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        if tags := list(dict.fromkeys(tags)):
            self._on_first(lambda identity: self._tags.mark(identity, writer, tags, lease))

    def release(self, writer: str, tags: Iterable[str]) -> None:
        if tags := list(dict.fromkeys(tags)):
            self._on_first(lambda identity: self._tags.release(identity, writer, tags))

    def delete(self, key: str) -> None:
        command = Delete(self._keys.entry(key))
        self._server_of(key).run(_whoever(partial(pipeline, [command])))

    def reset(self) -> None:
        self._on_first(self._tags.reset)

    def end_grace(self, sequence: Token) -> None:
        self._on_first(lambda identity: self._tags.end_grace(identity, sequence[:8]))

    def close(self) -> None:
        for server in self._servers:
            server.close()
            server.lines.close()

    def describe(self) -> dict[str, Any]:
        """Which of the ``servers`` answer."""
        return {"servers": {server.name: _state(server) for server in self._servers}}

    # -- writing, without its I/O ---------------------------------------------------------

    def _writing(self, key: str, entry: Entry, timeout: float | None) -> "Plan[None]":
        data, name, ttl = entries.pack(key, entry), self._keys.entry(key), _ttl(timeout)
        commands: list[Command] = []
        if len(data) > _PIECE:
            pieces = [data[start : start + _PIECE] for start in range(0, len(data), _PIECE)]
            data = manifest(data, len(pieces))
            names = self._keys.pieces(data)
            commands = [Set(*piece, ttl) for piece in zip(names, pieces, strict=False)]
        commands.append(Set(name, data, ttl))
        server = self._server_of(key)
        (error,) = yield [(server, _whoever(partial(one_by_one, commands)))]
        if isinstance(error, Refused):
            # No room, or an item size that was made smaller: the value is built anew each time.
            logger.debug("An entry is not stored: %s", error)
        elif isinstance(error, StoreUnavailable) and server is self._first:
            raise error

    # -- reading --------------------------------------------------------------------------

    def _readings(
        self, requests: Sequence[tuple[str | None, Sequence[str]]]
    ) -> "Plan[list[Reading]]":
        # Entries first, then tags: what is stored later than the tags were fetched may be newer.
        keys = dict.fromkeys(key for key, _ in requests if key is not None)
        found = yield from self._from_others(keys)
        near = [key for key in keys if key not in found]

        with_tags = partial(self._with_tags, requests=requests, found=found, near=near)
        (result,) = yield [(self._first, with_tags)]
        readings: list[Reading] = _of_the_first(result)
        return readings

    def _with_tags(
        self,
        identity: str,
        requests: Sequence[tuple[str | None, Sequence[str]]],
        found: Mapping[str, "_Found"],
        near: Sequence[str],
    ) -> Steps[list[Reading]]:
        names = {self._keys.entry(key): key for key in near}
        wanted = {tag for _, tags in requests for tag in tags}
        wanted.update(*(entry.tokens for entry, *_ in found.values() if entry is not None))
        wanted.update(*(self._remembered.get(key, ()) for key in near))
        seen = yield from self._tags.look(identity, wanted, tuple(names))
        here = {names[n]: (item.value, seen.left[n]) for n, item in seen.found.items()}
        found = {**found, **(yield from self._unpacked(here))}
        if late := {tag for entry, *_ in found.values() if entry for tag in entry.tokens} - wanted:
            again = yield from self._tags.look(identity, late)
            seen = again._replace(tags={**seen.tags, **again.tags})
        states, position, in_grace = yield from self._tags.states(identity, seen, seen.tags)
        readings = []
        for key, tags in requests:
            entry, damage, left = found.get(key, _NOTHING) if key is not None else _NOTHING
            names_of_tags = dict.fromkeys([*tags, *(entry.tokens if entry is not None else ())])
            own = {tag: states[tag] for tag in names_of_tags}
            readings.append(Reading(entry, own, position, in_grace, damage, left))
        return readings

    def _from_others(self, keys: Iterable[str]) -> "Plan[dict[str, _Found]]":
        """The entries that are not on the first server. One whose server is away is not there."""
        if len(self._servers) == 1:
            return {}
        groups: dict[Server, list[str]] = defaultdict(list)
        for key in keys:
            groups[self._server_of(key)].append(key)
        groups.pop(self._first, None)
        found: dict[str, _Found] = {key: _NOTHING for group in groups.values() for key in group}
        if not found:
            return {}
        parts = [
            (server, _whoever(partial(self._fetch, group))) for server, group in groups.items()
        ]
        for result in (yield parts):
            if isinstance(result, Exception):
                logger.debug("Entries are missed: %s", result)
            else:
                found.update(result)
        return found

    def _fetch(self, keys: Sequence[str]) -> "Steps[dict[str, _Found]]":
        names = {self._keys.entry(key): key for key in keys}
        items, *left = yield [Get(tuple(names)), *map(Left, names)]
        seconds = dict(zip(names, left, strict=True))
        here = {names[n]: (item.value, seconds[n]) for n, item in items.items()}
        return (yield from self._unpacked(here))

    def _unpacked(
        self, held: Mapping[str, tuple[bytes, float | None]]
    ) -> "Steps[dict[str, _Found]]":
        found: dict[str, _Found] = {}
        for key, (data, left) in held.items():
            found[key] = yield from self._unpack(key, data, left)
        return found

    def _unpack(self, key: str, data: bytes, left: float | None) -> "Steps[_Found]":
        try:
            if data.startswith(MANIFEST):
                data = yield from self._joined(data)
            entry = entries.unpack(key, data)
        except Undecodable as error:
            report_undecodable("entry", str(error))
            return None, str(error), 0.0
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = tuple(entry.tokens)
        return entry, "", left

    def _joined(self, data: bytes) -> Steps[bytes]:
        names = self._keys.pieces(data)
        (pieces,) = (yield [Get(tuple(names))]) if names else [{}]
        whole = b"".join([pieces[name].value for name in names if name in pieces])
        if manifest(whole, len(names)) != data:
            raise Undecodable("an entry of which pieces are missing")
        return whole

    # -- servers --------------------------------------------------------------------------

    def _ask(self, parts: "Sequence[Part]") -> list[Any]:
        return [_result(server, operation) for server, operation in parts]

    async def _aask(self, parts: "Sequence[Part]") -> list[Any]:
        if len(parts) == 1:
            return [await _aresult(*parts[0])]
        return await asyncio.gather(*(_aresult(*part) for part in parts))

    def _on_first(self, operation: Operation[T]) -> T:
        return cast("T", _of_the_first(_result(self._first, operation)))

    def _server_of(self, key: str) -> Server:
        """The server that has the entry under *key*: the same one in every process with the same pool."""
        if len(self._servers) == 1:
            return self._first
        data = key.encode("utf-8", "surrogatepass")
        return max(self._servers, key=lambda server: _weight(server, data))


#: What is asked of a server.
Part = tuple[Server, Operation[Any]]
#: An operation on all of them: it yields parts, and is sent what each returned, or raised.
Plan = Generator[Sequence[Part], list[Any], T]


def _whoever(begin: Callable[[], Steps[T]]) -> Operation[T]:
    """An operation that does not mind which server answers."""
    return lambda identity: begin()


def _result(server: Server, operation: Operation[Any]) -> Any:
    try:
        return server.run(operation)
    except (StoreUnavailable, Refused) as error:
        return error


async def _aresult(server: Server, operation: Operation[Any]) -> Any:
    try:
        return await server.arun(operation)
    except (StoreUnavailable, Refused) as error:
        return error


def _of_the_first(result: Any) -> Any:
    """*result*, of the server that has the tags: without it there is no store."""
    if isinstance(result, Refused):
        raise StoreUnavailable(f"memcached refuses: {result}") from result
    if isinstance(result, StoreUnavailable):
        raise result
    return result


#: An entry, what is wrong with it, and how many seconds it has left.
_Found = tuple[Entry | None, str, float | None]
_NOTHING: _Found = (None, "", 0.0)


def _state(server: Server) -> str:
    result = _result(server, _whoever(partial(pipeline, [Stats()])))
    return str(result) if isinstance(result, Exception) else "answers"


def _weight(server: Server, key: bytes) -> bytes:
    return blake2b(key, digest_size=8, key=str(server.address).encode()[:64]).digest()


def _ttl(timeout: float | None) -> int:
    return 0 if timeout is None else max(1, min(ceil(timeout), _LONGEST))
