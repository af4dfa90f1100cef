"""The `memcached` store: a pool of memcached servers; exact by compare-and-swap.

The first server of the pool has the tags, the marks and the sequence of tokens; the entries are
spread over all. Nothing moves to another server when one is away: without the first the store is
away, without another one its entries are. Entries need no such care, as their tokens are checked
against those of the first server.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from math import ceil
from typing import Any, TypeVar

from django_layercache.exceptions import StoreUnavailable, Undecodable
from django_layercache.serializers.reports import report_undecodable
from django_layercache.stores import entries
from django_layercache.stores.base import Entry, Reading, Token
from django_layercache.stores.memcached_commands import Command, Delete, Get, Left, Set, Stats
from django_layercache.stores.memcached_generations import server_time
from django_layercache.stores.memcached_items import MANIFEST, Keys, manifest
from django_layercache.stores.memcached_tags import Tags
from django_layercache.stores.memcached_wire import Connection, Refused, Server

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
        return self._readings(requests) if requests else []

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        data, name, ttl = entries.pack(key, entry), self._keys.entry(key), _ttl(timeout)
        commands: list[Command] = []
        if len(data) > _PIECE:
            pieces = [data[start : start + _PIECE] for start in range(0, len(data), _PIECE)]
            data = manifest(data, len(pieces))
            names = self._keys.pieces(data)
            commands = [Set(*piece, ttl) for piece in zip(names, pieces, strict=False)]
        self._put(key, [*commands, Set(name, data, ttl)])

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        if tags := list(dict.fromkeys(tags)):
            self._on_first(lambda connection: self._tags.mark(connection, writer, tags, lease))

    def release(self, writer: str, tags: Iterable[str]) -> None:
        if tags := list(dict.fromkeys(tags)):
            self._on_first(lambda connection: self._tags.release(connection, writer, tags))

    def delete(self, key: str) -> None:
        command = Delete(self._keys.entry(key))
        self._server_of(key).run(lambda connection: connection.exchange([command]))

    def reset(self) -> None:
        self._on_first(self._tags.reset)

    def end_grace(self, sequence: Token) -> None:
        self._on_first(lambda connection: self._tags.end_grace(connection, sequence[:8]))

    def close(self) -> None:
        for server in self._servers:
            server.close()

    def describe(self) -> dict[str, Any]:
        """Which of the ``servers`` answer."""
        return {"servers": {server.name: _state(server) for server in self._servers}}

    # -- reading --------------------------------------------------------------------------

    def _readings(self, requests: Sequence[tuple[str | None, Sequence[str]]]) -> list[Reading]:
        # Entries first, then tags: what is stored later than the tags were fetched may be newer.
        keys = dict.fromkeys(key for key, _ in requests if key is not None)
        found = self._from_others(keys)
        near = [key for key in keys if key not in found]
        return self._on_first(lambda first: self._with_tags(first, requests, found, near))

    def _with_tags(
        self,
        first: Connection,
        requests: Sequence[tuple[str | None, Sequence[str]]],
        found: Mapping[str, "_Found"],
        near: Sequence[str],
    ) -> list[Reading]:
        names = {self._keys.entry(key): key for key in near}
        wanted = {tag for _, tags in requests for tag in tags}
        wanted.update(*(entry.tokens for entry, *_ in found.values() if entry is not None))
        wanted.update(*(self._remembered.get(key, ()) for key in near))
        seen = self._tags.look(first, wanted, tuple(names))
        here = {names[n]: (item.value, seen.left[n]) for n, item in seen.found.items()}
        found = {**found, **self._unpacked(first, here)}
        if late := {tag for entry, *_ in found.values() if entry for tag in entry.tokens} - wanted:
            again = self._tags.look(first, late)
            seen = again._replace(tags={**seen.tags, **again.tags})
        states, position, in_grace = self._tags.states(first, seen, seen.tags)
        readings = []
        for key, tags in requests:
            entry, damage, left = found.get(key, _NOTHING) if key is not None else _NOTHING
            names_of_tags = dict.fromkeys([*tags, *(entry.tokens if entry is not None else ())])
            own = {tag: states[tag] for tag in names_of_tags}
            readings.append(Reading(entry, own, position, in_grace, damage, left))
        return readings

    def _from_others(self, keys: Iterable[str]) -> dict[str, "_Found"]:
        """The entries that are not on the first server. One whose server is away is not there."""
        if len(self._servers) == 1:
            return {}
        groups: dict[Server, list[str]] = defaultdict(list)
        for key in keys:
            groups[self._server_of(key)].append(key)
        groups.pop(self._first, None)
        found: dict[str, _Found] = {}
        for server, group in groups.items():
            found.update(dict.fromkeys(group, _NOTHING))
            try:
                found.update(server.run(partial(self._fetch, keys=group)))
            except (StoreUnavailable, Refused) as error:
                logger.debug("Entries are missed: %s", error)
        return found

    def _fetch(self, connection: Connection, keys: Sequence[str]) -> dict[str, "_Found"]:
        names = {self._keys.entry(key): key for key in keys}
        items, *left = connection.exchange([Get(tuple(names)), *map(Left, names)])
        seconds = dict(zip(names, left, strict=True))
        here = {names[n]: (item.value, seconds[n]) for n, item in items.items()}
        return self._unpacked(connection, here)

    def _unpacked(
        self, connection: Connection, found: Mapping[str, tuple[bytes, float | None]]
    ) -> dict[str, "_Found"]:
        return {key: self._unpack(connection, key, *held) for key, held in found.items()}

    def _unpack(
        self, connection: Connection, key: str, data: bytes, left: float | None
    ) -> "_Found":
        try:
            if data.startswith(MANIFEST):
                data = self._joined(connection, data)
            entry = entries.unpack(key, data)
        except Undecodable as error:
            report_undecodable("entry", str(error))
            return None, str(error), 0.0
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = tuple(entry.tokens)
        return entry, "", left

    def _joined(self, connection: Connection, data: bytes) -> bytes:
        names = self._keys.pieces(data)
        (pieces,) = connection.exchange([Get(tuple(names))])
        whole = b"".join([pieces[name].value for name in names if name in pieces])
        if manifest(whole, len(names)) != data:
            raise Undecodable("an entry of which pieces are missing")
        return whole

    # -- servers --------------------------------------------------------------------------

    def _on_first(self, operation: Callable[[Connection], T]) -> T:
        try:
            return self._first.run(operation)
        except Refused as error:
            raise StoreUnavailable(f"memcached refuses: {error}") from error

    def _put(self, key: str, commands: Sequence[Command]) -> None:
        server = self._server_of(key)
        try:
            server.run(lambda connection: connection.exchange(commands))
        except Refused as error:
            # No room, or an item size that was made smaller: the value is built anew each time.
            logger.debug("An entry is not stored: %s", error)
        except StoreUnavailable:
            if server is self._first:
                raise

    def _server_of(self, key: str) -> Server:
        """The server that has the entry under *key*: the same one in every process with the same pool."""
        if len(self._servers) == 1:
            return self._first
        data = key.encode("utf-8", "surrogatepass")
        return max(self._servers, key=lambda server: _weight(server, data))


#: An entry, what is wrong with it, and how many seconds it has left.
_Found = tuple[Entry | None, str, float | None]
_NOTHING: _Found = (None, "", 0.0)


def _state(server: Server) -> str:
    try:
        server.run(lambda connection: connection.exchange([Stats()]))
    except (StoreUnavailable, Refused) as error:
        return str(error)
    return "answers"


def _weight(server: Server, key: bytes) -> bytes:
    return blake2b(key, digest_size=8, key=str(server.address).encode()[:64]).digest()


def _ttl(timeout: float | None) -> int:
    return 0 if timeout is None else max(1, min(ceil(timeout), _LONGEST))
