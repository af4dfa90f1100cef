"""The servers of a Redis Cluster: which of them holds a key, and the wires to each.

redis-py knows the topology; that it has to be asked for anew is noticed here, by a server that
is away and by one that says that the key is somebody else's.
"""

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from redis.cluster import ClusterNode, RedisCluster
from redis.connection import SSLConnection
from redis.exceptions import RedisClusterException, RedisError

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.breaker import Breaker
from django_layercache.stores.resp import Refusal, packed
from django_layercache.stores.wire import CONNECT_TIMEOUT, RESPONSE_TIMEOUT, Wire, Wires

__all__ = ["FAILURES", "WHOM", "NodeWire", "NodeWires", "Nodes", "is_redirection"]

#: In bytes that are to be sent, this stands for the identity of whoever they are sent to. As long as one is.
WHOM = secrets.token_hex(20)

#: How often the topology is asked for at the most, in seconds.
ASK_EVERY = 0.5
_MOST_MOVES = 3

#: What redis-py raises, of which not all is a ``RedisError``.
FAILURES = (RedisError, RedisClusterException, OSError)


class NodeWire(Wire):
    """One that knows whom it leads to."""

    __slots__ = ("identity",)

    identity: bytes

    def exchange(self, commands: bytes, count: int) -> list[Any]:
        if WHOM.encode() in commands:
            commands = commands.replace(WHOM.encode(), self.identity)
        return super().exchange(commands, count)


class NodeWires(Wires):
    """The wires to one of the servers."""

    wire_class = NodeWire


class Nodes:
    """See the module. *connect* returns the client that the project has made, or raises what that raises."""

    def __init__(
        self, connect: Callable[[], RedisCluster], greet: Callable[[NodeWire], None]
    ) -> None:
        self._connect = connect
        self._greet = greet
        self._lock = threading.Lock()
        self._breaker = Breaker()
        self._cluster: RedisCluster | None = None
        self._wires: dict[str, NodeWires] = {}
        self._in_doubt = False
        self._ask_at = 0.0

    def exchange(self, key: bytes, commands: bytes, count: int) -> list[Any]:
        """Send *commands* to the server that holds *key*, and to its successor if it says so."""
        for _ in range(_MOST_MOVES):
            wires = self.wires_of(key)
            try:
                replies = wires.exchange(commands, count)
            except StoreUnavailable:
                self.doubt()
                raise
            if not any(_says(reply, "MOVED") for reply in replies):
                return replies
            with self._lock:
                self._ask()
        raise StoreUnavailable("the cluster does not agree on who holds a key")

    def doubt(self) -> None:
        """A server is away: it may have a successor."""
        self._in_doubt = True

    def ask_for(self, key: bytes, *commands: bytes) -> list[Any]:
        """The replies to *commands*, all about *key*, of whoever holds it, be it on the way to another server."""
        replies = self.exchange(key, b"".join(commands), len(commands))
        address = next((_named_by(reply) for reply in replies if _says(reply, "ASK")), None)
        node = self._topology().get_node(*address) if address is not None else None
        if node is None:
            return replies
        asking = packed("ASKING")
        asked = b"".join(asking + command for command in commands)
        return self._wires_to(node).exchange(asked, 2 * len(commands))[1::2]

    def wires_of(self, key: bytes) -> NodeWires:
        """Those to the server that holds *key*."""
        cluster = self._topology()
        try:
            return self._wires_to(cluster.nodes_manager.get_node_from_slot(cluster.keyslot(key)))
        except FAILURES as error:
            self.doubt()
            raise StoreUnavailable(f"nobody in the cluster holds a key: {error}") from error

    def close(self) -> None:
        """Close all wires."""
        for wires in list(self._wires.values()):
            wires.close()
        if self._cluster is not None:
            self._cluster.disconnect_connection_pools()

    def _wires_to(self, node: ClusterNode) -> NodeWires:
        wires = self._wires.get(node.name)
        if wires is None:
            client = self._topology().get_redis_connection(node)
            made = NodeWires(client.connection_pool, self._greet)  # type: ignore[arg-type]
            wires = self._wires.setdefault(node.name, made)
        return wires

    # -- the topology ---------------------------------------------------------------------

    def _topology(self) -> RedisCluster:
        cluster = self._cluster
        if cluster is None:
            cluster = self._first_topology()
        elif self._in_doubt and time.monotonic() >= self._ask_at:
            self._ask_if_nobody_does()
        return cluster

    def _first_topology(self) -> RedisCluster:
        with self._lock:
            if self._cluster is not None:
                return self._cluster
            self._breaker.check()
            try:
                self._cluster = _own(self._connect())
            except FAILURES as error:
                self._breaker.failed(error)
                raise StoreUnavailable(f"the Redis Cluster does not answer: {error}") from error
            self._breaker.succeeded()
            return self._cluster

    def _ask_if_nobody_does(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._lock.release()

    def _ask(self) -> None:
        self._ask_at = time.monotonic() + ASK_EVERY
        self._in_doubt = False
        try:
            if self._cluster is not None:
                self._cluster.nodes_manager.initialize()
        except FAILURES:
            self._in_doubt = True  # what was known is used; who is away is noticed


def is_redirection(reply: Refusal) -> bool:
    """Whether a server says that another one has the key."""
    return _says(reply, "MOVED") or _says(reply, "ASK")


def _says(reply: Any, word: str) -> bool:
    return isinstance(reply, Refusal) and str(reply).startswith(f"{word} ")


def _named_by(refusal: Refusal) -> tuple[str, int]:
    """The address in ``ASK <slot> <host>:<port>``."""
    host, _, port = str(refusal).rpartition(" ")[2].rpartition(":")
    return host, int(port)


def _own(theirs: RedisCluster) -> RedisCluster:
    """A client like *theirs*, which waits no longer than a visitor would."""
    options = dict(theirs.get_connection_kwargs())
    for name in ("db", "redis_connect_func", "cache", "cache_config", "maint_notifications_config"):
        options.pop(name, None)
    if issubclass(options.pop("connection_class", object), SSLConnection):
        options["ssl"] = True
    if options.get("socket_connect_timeout") is None:
        options["socket_connect_timeout"] = CONNECT_TIMEOUT
    if options.get("socket_timeout") is None:
        options["socket_timeout"] = RESPONSE_TIMEOUT
    return RedisCluster(
        startup_nodes=[ClusterNode(node.host, node.port) for node in theirs.get_nodes()],
        require_full_coverage=False,
        address_remap=theirs.nodes_manager.address_remap,
        **options,
    )
