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
from typing import Any, TypeVar, cast

from redis.cluster import RedisCluster

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores import _lua, entries
from django_layercache.stores.base import Entry, Reading
from django_layercache.stores.nodes import WHOM, Nodes, NodeWire, NodeWires, is_redirection
from django_layercache.stores.redis import (
    RedisStore,
    Steps,
    raise_refusals,
    run_id_of,
    unpacked,
)
from django_layercache.stores.resp import Refusal, packed

__all__ = ["ClusterStore"]

logger = logging.getLogger("django_layercache.stores")

T = TypeVar("T")

_NOTHING: tuple[Entry | None, str] = (None, "")


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
        self._prepare(f"layercache:1:{{layercache:{namespace}}}:", grace, now)
        self._entries = f"layercache:1:{len(namespace)}:{namespace}:e:"
        self._nodes = Nodes(connect, _greet)

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        (reading,) = self.read_many([(key, tags)])
        return reading

    def read_many(self, requests: Sequence[tuple[str | None, Sequence[str]]]) -> list[Reading]:
        found = self._fetch([key for key, _ in requests if key is not None])
        entries_found = [found.get(key, _NOTHING) for key, _ in requests]
        wanted = [
            (None, _all_tags(tags, entry))
            for (entry, _), (_, tags) in zip(entries_found, requests, strict=True)
        ]
        readings = self._run(self._read_many(wanted)) if wanted else []
        return [
            replace(reading, entry=entry, damage=damage)
            for reading, (entry, damage) in zip(readings, entries_found, strict=True)
        ]

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        expiry = () if timeout is None else ("PX", max(1, round(timeout * 1000)))
        command = packed("SET", self._entry_key(key), entries.pack(key, entry), *expiry)
        try:
            self._ask_for(key, command)
        except StoreUnavailable:
            logger.debug("An entry was not stored.", exc_info=True)

    def delete(self, key: str) -> None:
        self._ask_for(key, packed("DEL", self._entry_key(key)))

    def close(self) -> None:
        self._nodes.close()

    # -- entries --------------------------------------------------------------------------

    def _fetch(self, keys: Sequence[str]) -> dict[str | None, tuple[Entry | None, str]]:
        """What is stored under *keys*, in one exchange with each server."""
        found: dict[str | None, tuple[Entry | None, str]] = {}
        for wires, theirs in self._by_server(keys).items():
            try:
                replies = wires.exchange(b"".join(map(self._get, theirs)), len(theirs))
                for key, reply in zip(theirs, replies, strict=True):
                    data = self._redirected(key, reply)
                    if data is not None:
                        found[key] = unpacked(key, data)
            except StoreUnavailable:
                self._nodes.doubt()
                logger.debug("Entries were not fetched.", exc_info=True)
        return found

    def _by_server(self, keys: Sequence[str]) -> dict[NodeWires, list[str]]:
        servers: dict[NodeWires, list[str]] = {}
        for key in dict.fromkeys(keys):
            servers.setdefault(self._nodes.wires_of(self._name(key)), []).append(key)
        return servers

    def _redirected(self, key: str, reply: Any) -> Any:
        if isinstance(reply, Refusal) and is_redirection(reply):
            return self._ask_for(key, self._get(key))
        return None if isinstance(reply, Refusal) else reply  # a key of another type

    def _ask_for(self, key: str, command: bytes) -> Any:
        (reply,) = self._nodes.exchange(self._name(key), command, 1)
        (reply,) = raise_refusals([self._nodes.follow(reply, command)])
        return reply

    def _get(self, key: str) -> bytes:
        return packed("GET", self._entry_key(key))

    def _name(self, key: str) -> bytes:
        return self._entry_key(key).encode("utf-8", "surrogatepass")

    def _entry_key(self, key: str) -> str:
        return self._entries + key

    # -- everything else ------------------------------------------------------------------

    def _run(self, steps: Steps[T]) -> T:
        register = self._register.encode()
        try:
            request = next(steps)
            while True:
                replies = self._nodes.exchange(register, request.commands, request.number)
                request = steps.send(replies)
        except StopIteration as done:
            return cast("T", done.value)

    def _arguments(self, *arguments: Any) -> list[Any]:
        prefix, nonce, *more = super()._arguments(*arguments)
        return [prefix, nonce + WHOM, *more]


def _greet(wire: NodeWire) -> None:
    wire.identity = run_id_of(wire).ljust(len(WHOM))[: len(WHOM)]


def _all_tags(tags: Sequence[str], entry: Entry | None) -> Sequence[str]:
    if entry is None:
        return tags
    return [*tags, *(tag for tag in entry.tokens if tag not in tags)]
