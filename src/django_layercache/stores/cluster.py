"""The `redis` store on a Redis Cluster.

The register, the marks and the tokens of a namespace are on one server: their keys have the same
hash tag, so each script is atomic there. The entries are spread over all servers.

A read is two exchanges: the entry, and then the states of its tags. Nothing holds the two together,
and nothing has to: an entry says under which tokens its value was true, and a hit is as fresh as
the states that it is compared with, which are fetched after the read has begun
(``tests/engine/test_interleavings_of_parts.py``).

Keys of a namespace:

``layercache:1:{layercache:<namespace>}:…``
    What ``_lua.py`` says, but for the entries.
``layercache:1:<length of the namespace>:<namespace>:e:<key>``
    An entry.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

from redis.cluster import RedisCluster

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores import _lua, entries
from django_layercache.stores.base import Entry, Reading
from django_layercache.stores.errands import (
    WHOM,
    Errand,
    Errands,
    NodeWire,
    NodeWires,
    arun,
    run,
)
from django_layercache.stores.nodes import FAILURES, Nodes, is_redirection
from django_layercache.stores.redis import (
    RedisStore,
    Request,
    Steps,
    raise_refusals,
    unpacked,
    who_is_at,
)
from django_layercache.stores.resp import Refusal, packed
from django_layercache.stores.wire import Wire

__all__ = ["ClusterStore"]

logger = logging.getLogger("django_layercache.stores")

T = TypeVar("T")


class _Found(NamedTuple):
    """What is stored under a key: the entry, or what is wrong with it, and how many seconds it has left."""

    entry: Entry | None = None
    damage: str = ""
    left: float | None = 0.0


_NOTHING = _Found()


class ClusterStore(RedisStore):
    """Tokens and marks on one server of a cluster, entries on all.

    *connect* returns the ``redis.cluster.RedisCluster`` that the project's cache alias uses:
    addresses, credentials and TLS are taken from it. It is called when the cluster is first
    needed, and again if it raised.

    A server that has entries and is away is one that has none: everything else goes on.
    """

    def __init__(
        self,
        connect: Callable[[], RedisCluster],
        *,
        namespace: str = "",
        grace: float = 1.0,
        now: str = _lua.NOW,
    ) -> None:
        self._replicas = 0
        self._prepare(f"layercache:1:{{layercache:{namespace}}}:", grace, now, WHOM)
        self._entries = f"layercache:1:{len(namespace)}:{namespace}:e:"
        self._nodes = Nodes(connect, _greet)

    def close(self) -> None:
        self._nodes.close()

    def track(self, pulse: str) -> Wire:
        try:
            return super().track(pulse)
        except FAILURES:
            self._nodes.doubt()
            raise

    def delete(self, key: str) -> None:
        self._run(self._delete(key))

    # -- the operations, without their I/O ------------------------------------------------

    def _read(self, key: str | None, tags: Sequence[str]) -> Errands[Reading]:
        (reading,) = yield from self._read_many([(key, tags)])
        return reading

    def _read_many(
        self, requests: Sequence[tuple[str | None, Sequence[str]]]
    ) -> Errands[list[Reading]]:
        fetched = yield from self._fetch([key for key, _ in requests if key is not None])
        found = [fetched.get(key, _NOTHING) for key, _ in requests]
        wanted = [
            (None, _all_tags(tags, one.entry))
            for one, (_, tags) in zip(found, requests, strict=True)
        ]
        readings = (yield from super()._read_many(wanted)) if wanted else []
        return [
            replace(reading, entry=one.entry, damage=one.damage, left=one.left)
            for reading, one in zip(readings, found, strict=True)
        ]

    def _write(self, key: str, entry: Entry, timeout: float | None) -> Errands[None]:
        expiry = () if timeout is None else ("PX", max(1, round(timeout * 1000)))
        command = packed("SET", self._entry_key(key), entries.pack(key, entry), *expiry)
        try:
            raise_refusals((yield from self._nodes.ask_for(self._name(key), command)))
        except StoreUnavailable:
            logger.debug("An entry was not stored.", exc_info=True)

    def _delete(self, key: str) -> Errands[None]:
        command = packed("DEL", self._entry_key(key))
        raise_refusals((yield from self._nodes.ask_for(self._name(key), command)))

    # -- entries --------------------------------------------------------------------------

    def _fetch(self, keys: Sequence[str]) -> Errands[dict[str | None, _Found]]:
        """What is stored under *keys*, in one exchange with each server."""
        found: dict[str | None, _Found] = {}
        if not keys:
            return found
        by_server = yield from self._by_server(keys)
        outcomes = yield [self._errand(wires, theirs) for wires, theirs in by_server.items()]
        for theirs, replies in zip(by_server.values(), outcomes, strict=True):
            if isinstance(replies, StoreUnavailable):
                self._nodes.doubt()
                logger.debug("Entries were not fetched.", exc_info=replies)
                continue
            for key, *pair in zip(theirs, replies[::2], replies[1::2], strict=True):
                found[key] = yield from self._found(key, pair)
        return found

    def _found(self, key: str, replies: Sequence[Any]) -> Errands[_Found]:
        if isinstance(replies[1], Refusal) and is_redirection(replies[1]):
            try:
                replies = yield from self._nodes.ask_for(self._name(key), *self._get(key))
            except StoreUnavailable:
                return _NOTHING
        left, data = replies
        if not isinstance(data, bytes):
            return _NOTHING  # none, or a key of another type
        entry, damage = unpacked(key, data)
        return _Found(entry, damage, None if left == -1 else left / 1000)

    def _by_server(self, keys: Sequence[str]) -> Errands[dict[NodeWires, list[str]]]:
        servers: dict[NodeWires, list[str]] = {}
        for key in dict.fromkeys(keys):
            wires = yield from self._nodes.wires_of(self._name(key))
            servers.setdefault(wires, []).append(key)
        return servers

    def _errand(self, wires: NodeWires, keys: Sequence[str]) -> Errand:
        commands = [command for key in keys for command in self._get(key)]
        return Errand(wires, b"".join(commands), len(commands))

    def _get(self, key: str) -> list[bytes]:
        return [packed(command, self._entry_key(key)) for command in ("PTTL", "GET")]

    def _name(self, key: str) -> bytes:
        return self._entry_key(key).encode("utf-8", "surrogatepass")

    def _entry_key(self, key: str) -> str:
        return self._entries + key

    # -- everything else ------------------------------------------------------------------

    def _run(self, steps: Steps[T]) -> T:
        return run(self._routed(steps))

    async def _arun(self, steps: Steps[T]) -> T:
        return await arun(self._routed(steps))

    def _routed(self, steps: Steps[T]) -> Errands[T]:
        """*steps*, whose requests go to the server of the tags."""
        register, answer = self._register.encode(), None
        try:
            while True:
                wanted = steps.send(answer)
                if isinstance(wanted, Request):
                    answer = yield from self._nodes.exchange(register, *wanted, surely=True)
                else:
                    answer = yield wanted
        except StopIteration as done:
            return cast("T", done.value)

    def _wires_of_tags(self) -> NodeWires:
        return run(self._nodes.wires_of(self._register.encode()))

    def _arguments(self, *arguments: Any) -> list[Any]:
        prefix, nonce, *more = super()._arguments(*arguments)
        return [prefix, nonce + WHOM, *more]


def _greet(wire: NodeWire) -> None:
    wire.identity = who_is_at(wire)[0].ljust(len(WHOM))[: len(WHOM)]


def _all_tags(tags: Sequence[str], entry: Entry | None) -> Sequence[str]:
    if entry is None:
        return tags
    return [*tags, *(tag for tag in entry.tokens if tag not in tags)]
