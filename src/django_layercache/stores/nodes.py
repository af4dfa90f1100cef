"""The servers of a Redis Cluster: which of them holds a key, and the wires to each.

redis-py knows the topology; that it has to be asked for anew is noticed here, by a server that
is away and by one that says that the key is somebody else's.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from redis.cluster import ClusterNode, RedisCluster, get_node_name
from redis.connection import SSLConnection
from redis.exceptions import RedisClusterException, RedisError

from django_layercache.exceptions import StoreUnavailable
from django_layercache.forks import renewed_in_children
from django_layercache.stores.breaker import Breaker
from django_layercache.stores.errands import Errand, Errands, NodeWire, NodeWires, Outcome
from django_layercache.stores.resp import Refusal, packed
from django_layercache.stores.wire import CONNECT_TIMEOUT, RESPONSE_TIMEOUT

__all__ = ["FAILURES", "Nodes", "is_redirection"]

#: How often the topology is asked for at the most, in seconds.
ASK_EVERY = 0.5
_MOST_MOVES = 3
#: In seconds: a server that has answered since has no successor. Shorter than any `cluster-node-timeout`.
TENURE = 0.5
#: So many others are asked for one that says nothing.
_MOST_WITNESSES = 3

#: What redis-py raises, of which not all is a ``RedisError``.
FAILURES = (RedisError, RedisClusterException, OSError)


class Nodes:
    """See the module. *connect* returns the client that the project has made, or raises what that raises."""

    def __init__(
        self, connect: Callable[[], RedisCluster], greet: Callable[[NodeWire], None]
    ) -> None:
        self._connect = connect
        self._greet = greet
        self._lock = renewed_in_children(threading.Lock())
        self._breaker = Breaker()
        self._cluster: RedisCluster | None = None
        self._wires: dict[str, NodeWires] = {}
        self._in_doubt = False
        self._ask_at = 0.0
        #: How often.
        self._asked = 0

    def exchange(
        self, key: bytes, commands: bytes, number: int, *, surely: bool = False
    ) -> Errands[list[Any]]:
        """Send *commands* to the server that holds *key*, and to its successor if it says so.

        *surely*: not to one that may have a successor, and does not know it yet.
        """
        for _ in range(_MOST_MOVES):
            wires, asked, began = (yield from self.wires_of(key)), self._asked, time.monotonic()
            is_sure = not surely or began - wires.alive_at <= TENURE
            if not is_sure and (yield from self._has_successor(key)):
                yield partial(self._ask_again, asked)
                continue
            (replies,) = yield [Errand(wires, commands, number)]
            if isinstance(replies, StoreUnavailable):
                self.doubt()
                raise replies
            if not any(_says(reply, "MOVED") for reply in replies):
                wires.alive_at = began
                return cast("list[Any]", replies)
            yield partial(self._ask_again, asked)
        raise StoreUnavailable("the cluster does not agree on who holds a key")

    def _has_successor(self, key: bytes) -> Errands[bool]:
        """Whether another server has taken over from the one that holds *key*, as its replicas say, or others.

        One that was stopped, and goes on, answers from before that until it hears of it.
        """
        cluster = yield from self._topology()
        listed = cluster.nodes_manager.slots_cache.get(cluster.keyslot(key))
        if not listed:
            return True
        holder, *replicas = listed
        others = [node for node in cluster.get_primaries() if node is not holder]
        holders = yield from self._holders(cluster, key, replicas)
        if others and (None in holders or not holders):  # those that are away are not listed
            holders |= yield from self._holders(cluster, key, others[:_MOST_WITNESSES])
        known = holders - {None}
        if holders and not known:
            raise StoreUnavailable("nobody in the cluster says who holds a key")
        return not known <= {holder.name}

    def _holders(
        self, cluster: RedisCluster, key: bytes, nodes: Sequence[ClusterNode]
    ) -> Errands[set[str | None]]:
        """Who holds *key*, as *nodes* say; ``None`` if one says nothing."""
        question = packed("EXISTS", key)
        outcomes = yield [Errand(self._wires_to(cluster, node), question, 1) for node in nodes]
        return {
            _named_by_one(cluster, node, outcome)
            for node, outcome in zip(nodes, outcomes, strict=True)
        }

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
    """The address in ``ASK <slot> <host>:<port>``, and in what is ``MOVED``."""
    host, _, port = str(refusal).rpartition(" ")[2].rpartition(":")
    return host, int(port)


def _named_by_one(cluster: RedisCluster, node: ClusterNode, outcome: Outcome) -> str | None:
    """The name of whoever holds a key, which *node* was asked for."""
    if isinstance(outcome, StoreUnavailable):
        return None
    (reply,) = outcome
    if not isinstance(reply, Refusal):
        return node.name
    if not _says(reply, "MOVED"):
        return None
    host, port = cluster.nodes_manager.remap_host_port(*_named_by(reply))
    return get_node_name(host or node.host, port)


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
