"""The hot path's own connections to a Redis server.

redis-py makes them (host, TLS, credentials, database, protocol, client name, Sentinel's topology:
all as the project's cache alias says), and is not asked again: what it does in Python around each
command takes longer than the server and the network together. A :class:`Wire` sends bytes that were
packed before, and reads the replies; :class:`Wires` lends wires to threads and event loops.
"""

from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.lending import Lender
from django_layercache.stores.resp import INCOMPLETE, Refusal, is_push, new_reader

__all__ = [
    "CONNECT_TIMEOUT",
    "RESPONSE_TIMEOUT",
    "Wire",
    "Wires",
    "was_replaced",
]

#: Seconds, where the project's own connection options say nothing.
CONNECT_TIMEOUT = 0.25
RESPONSE_TIMEOUT = 0.5

#: What the pool adds for its own connections.
_OF_THE_POOL = ("maint", "orig_", "oss_cluster_", "himport_", "event_dispatcher")


class Wire:
    """One connection. Whoever holds it is alone with it.

    After any exception it is closed: a reply may be under way, and whoever used it next would
    take that for theirs.
    """

    __slots__ = ("_buffer", "_connection", "epoch", "reader", "socket")

    def __init__(self, connection: Any, epoch: int) -> None:
        self._connection = connection
        self._buffer = bytearray(65536)
        self.socket = connection._sock
        self.reader = new_reader()
        self.epoch = epoch

    def exchange(self, commands: bytes, count: int) -> list[Any]:
        """Send *commands*, which are *count*; the reply to each, a ``Refusal`` among them perhaps."""
        try:
            self.socket.sendall(self.worded(commands))
            replies: list[Any] = []
            while len(replies) < count:
                self.receive()
                self.take(replies, count)
        except BaseException:
            # Also what interrupts us: a soft time limit, a signal's handler.
            self.close()
            raise
        return replies

    def worded(self, commands: bytes) -> bytes:
        """*commands*, as they are said to this server."""
        return commands

    def receive(self) -> None:
        """Feed the reader with what has come."""
        size = self.socket.recv_into(self._buffer)
        if not size:
            raise ConnectionResetError("the server has closed the connection")
        self.reader.feed(self._buffer, 0, size)

    def take(self, replies: list[Any], count: int) -> None:
        """Move replies that are complete to *replies*, until they are *count*."""
        gets = self.reader.gets
        while len(replies) < count and (reply := gets()) is not INCOMPLETE:
            if not is_push(reply):
                replies.append(reply)

    def take_all(self, messages: list[Any]) -> None:
        """Move what is complete to *messages*, with what the server says unasked."""
        gets = self.reader.gets
        while (message := gets()) is not INCOMPLETE:
            messages.append(message)

    def close(self) -> None:
        """In a child of the process that made it, only the child's copy."""
        self._connection.disconnect()


class Wires(Lender[Wire]):
    """Wires to one server.

    *pool* says how to connect: each time one is made, so that a failover is followed. Each new
    wire is shown to *greet* before its first command.
    """

    wire_class = Wire
    failures = (OSError, RedisError)

    def __init__(
        self, pool: redis.ConnectionPool, greet: Callable[[Wire], None] = lambda wire: None
    ) -> None:
        super().__init__()
        self._project_pool = pool  # Sentinel's connections ask it for the address
        self._class = pool.connection_class
        self._greet = greet
        self.options = own_options(pool)
        self.timeout = self.options["socket_timeout"]

    def exchange(self, commands: bytes, count: int) -> list[Any]:
        """:meth:`Wire.exchange` on one of the wires, or :exc:`StoreUnavailable`."""
        self.breaker.check()
        try:
            if self.is_due():
                self.follow()
            replies = self._exchange(commands, count)
        except self.failures as error:
            raise self.failed(error) from error
        self.breaker.succeeded()
        return replies

    def failed(self, error: Exception) -> StoreUnavailable:
        self.breaker.failed(error)
        return StoreUnavailable(f"the Redis server does not answer: {error}")

    def _exchange(self, commands: bytes, count: int) -> list[Any]:
        wire = self.take()
        if wire is None:
            return self._exchange_on(self.connect(), commands, count)
        try:
            replies = self._exchange_on(wire, commands, count)
        except TimeoutError:
            raise  # not tried again: the visitor has waited already
        except OSError:
            replies = None  # the server has closed it meanwhile, and others of its age as well
        if replies is None or was_replaced(replies):
            self.retire(wire)
            replies = self._exchange_on(self.connect(), commands, count)
        return replies

    def _exchange_on(self, wire: Wire, commands: bytes, count: int) -> list[Any]:
        replies = wire.exchange(commands, count)
        self.keep(wire)
        return replies

    def connect(self) -> Wire:
        """A new wire, which has been greeted."""
        epoch = self._epoch
        connection = self._class(**self.options)
        try:
            connection.connect()
            wire = self.wire_class(connection, epoch)
            self._greet(wire)
        except BaseException:
            connection.disconnect()  # it must not be used before it knows its server
            raise
        return wire


def was_replaced(replies: list[Any]) -> bool:
    """Whether the server is no primary any more, or has lost its replicas: another one may be it."""
    return Refusal in map(type, replies) and any(
        isinstance(reply, Refusal) and str(reply).startswith(("READONLY", "NOREPLICAS"))
        for reply in replies
    )


def own_options(pool: redis.ConnectionPool) -> dict[str, Any]:
    """The arguments for a connection of *pool*'s class, which waits no longer than a visitor would."""
    options = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if not name.startswith(_OF_THE_POOL)
    }
    for name, seconds in (
        ("socket_connect_timeout", CONNECT_TIMEOUT),
        ("socket_timeout", RESPONSE_TIMEOUT),
    ):
        if options.get(name) is None:
            options[name] = seconds
    options["decode_responses"] = False
    options["retry"] = Retry(NoBackoff(), 0)
    options["retry_on_timeout"] = False
    options.pop("retry_on_error", None)
    return options
