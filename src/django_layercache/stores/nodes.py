"""The servers of a Redis Cluster: which of them holds a key, and the wires to each.

redis-py knows the topology; that it has to be asked for anew is noticed here, by a server that
is away and by one that says that the key is somebody else's.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from redis.cluster import ClusterNode, RedisCluster
from redis.connection import SSLConnection
from redis.exceptions import RedisClusterException, RedisError

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.breaker import Breaker
from django_layercache.stores.errands import Errand, Errands, NodeWire, NodeWires
from django_layercache.stores.resp import Refusal, packed
from django_layercache.stores.wire import CONNECT_TIMEOUT, RESPONSE_TIMEOUT

__all__ = ["FAILURES", "Nodes", "is_redirection"]

#: How often the topology is asked for at the most, in seconds.
ASK_EVERY = 0.5
_MOST_MOVES = 3

#: What redis-py raises, of which not all is a ``RedisError``.
FAILURES = (RedisError, RedisClusterException, OSError)


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
        #: How often.
        self._asked = 0

    def exchange(self, key: bytes, commands: bytes, number: int) -> Errands[list[Any]]:
        """Send *commands* to the server that holds *key*, and to its successor if it says so."""
        for _ in range(_MOST_MOVES):
            wires, asked = (yield from self.wires_of(key)), self._asked
            (replies,) = yield [Errand(wires, commands, number)]
            if isinstance(replies, StoreUnavailable):
                self.doubt()
                raise replies
            if not any(_says(reply, "MOVED") for reply in replies):
                return cast("list[Any]", replies)
            yield partial(self._ask_again, asked)
        raise StoreUnavailable("the cluster does not agree on who holds a key")

    def doubt(self) -> None:
        """A server is away: it may have a successor."""
        self._in_doubt = True

    def ask_for(self, key: bytes, *commands: bytes) -> Errands[list[Any]]:
        """The replies to *commands*, all about *key*, of whoever holds it, be it on the way to another server."""
        replies = yield from self.exchange(key, b"".join(commands), len(commands))
        address = next((_named_by(reply) for reply in replies if _says(reply, "ASK")), None)
        if address is None:
            return replies
        cluster = yield from self._topology()
        node = cluster.get_node(*address)
        if node is None:
            return replies
        asking = packed("ASKING")
        asked = b"".join(asking + command for command in commands)
        (replies,) = yield [Errand(self._wires_to(cluster, node), asked, 2 * len(commands))]
        if isinstance(replies, StoreUnavailable):
            raise replies
        return cast("list[Any]", replies[1::2])

    def wires_of(self, key: bytes) -> Errands[NodeWires]:
        """Those to the server that holds *key*."""
        cluster = yield from self._topology()
        try:
            node = cluster.nodes_manager.get_node_from_slot(cluster.keyslot(key))
            return self._wires_to(cluster, node)
        except FAILURES as error:
            self.doubt()
            raise StoreUnavailable(f"nobody in the cluster holds a key: {error}") from error

    def close(self) -> None:
        """Close all wires."""
        for wires in list(self._wires.values()):
            wires.close()
            wires.lines.close()
        if self._cluster is not None:
            self._cluster.disconnect_connection_pools()

    def _wires_to(self, cluster: RedisCluster, node: ClusterNode) -> NodeWires:
        wires = self._wires.get(node.name)
        if wires is None:
            client = cluster.get_redis_connection(node)
            made = NodeWires(client.connection_pool, self._greet)
            wires = self._wires.setdefault(node.name, made)
        return wires

    # -- the topology ---------------------------------------------------------------------

    def _topology(self) -> Errands[RedisCluster]:
        if self._cluster is None:
            yield self._first_topology
        elif self._in_doubt and time.monotonic() >= self._ask_at:
            yield self._ask_if_nobody_does
        return cast("RedisCluster", self._cluster)

    def _first_topology(self) -> None:
        with self._lock:
            if self._cluster is not None:
                return
            self._breaker.check()
            try:
                self._cluster = _own(self._connect())
            except FAILURES as error:
                self._breaker.failed(error)
                raise StoreUnavailable(f"the Redis Cluster does not answer: {error}") from error
            self._breaker.succeeded()

    def _ask_if_nobody_does(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._lock.release()

    def _ask_again(self, asked: int) -> None:
        """Ask, unless somebody has since there had been so many askings."""
        with self._lock:
            if self._asked == asked:
                self._ask()

    def _ask(self) -> None:
        self._asked += 1
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
