"""Connections to a memcached server, for threads and for event loops.

A client of our own, as no library's sends several compare-and-swaps in one round trip. What the
library of the project's alias is told (addresses, time-outs, TLS) is told to this one.
"""

import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.lending import Lender
from django_layercache.stores.line import Line, Seats
from django_layercache.stores.memcached_commands import Command, Get, Refused, Stats, Steps
from django_layercache.stores.memcached_replies import INCOMPLETE, Garbled, Reader
from django_layercache.stores.steps import awaited_to_the_end, carried_out

__all__ = ["Address", "Connection", "Operation", "Server"]

#: Seconds, where the project's own alias says nothing.
CONNECT_TIMEOUT = 0.25
RESPONSE_TIMEOUT = 0.5

#: Commands that are under way before the first reply is read. Were there no bound, both sides
#: could come to wait for the other one to read.
_BATCH = 200

#: For this nothing is sent, and nothing comes.
_NOTHING = Get(())

T = TypeVar("T")

#: A host and a port, or the path of a unix socket.
Address = tuple[str, int] | str
#: What is done on one connection, once it is known which server answers there.
Operation = Callable[[str], Steps[T]]


class Connection:
    """One socket. Who gets an exception from it closes it: a reply may be under way."""

    def __init__(
        self,
        address: Address,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        timeout: float = RESPONSE_TIMEOUT,
        tls: ssl.SSLContext | None = None,
        epoch: int = 0,
    ) -> None:
        self.epoch = epoch
        self.socket = _connected(address, connect_timeout)
        self._reader = Reader()
        #: Commands that were sent, and have no reply yet.
        self._expected: deque[Command] = deque()
        try:
            if tls is not None:
                host = address if isinstance(address, str) else address[0]
                self.socket = tls.wrap_socket(self.socket, server_hostname=host)
            self.socket.settimeout(timeout)
            self.identity = self._identify()
        except BaseException:
            self.close()
            raise

    def _identify(self) -> str:
        """What no other run of no other server has: its process, and when that began."""
        (stats,) = self.exchange([Stats()])
        try:
            started = int(stats[b"time"]) - int(stats[b"uptime"])
        except (KeyError, ValueError) as error:
            raise Garbled("it does not tell its time") from error
        return f"{stats.get(b'pid', b'?').decode('latin-1')}.{started}"

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to *commands*, which the server carries out in their order."""
        replies: list[Any] = []
        for start in range(0, len(commands), _BATCH):
            batch = commands[start : start + _BATCH]
            if asked := self.asked(batch):
                self.socket.sendall(asked)
                self.receive()
            self.take(replies, start + len(batch))
            while len(replies) < start + len(batch):
                self.receive()
                self.take(replies, start + len(batch))
        return granted(replies)

    def asked(self, commands: Sequence[Command]) -> bytes:
        """What is to be sent for *commands*, after all that was asked for before."""
        self._expected.extend(commands)
        return b"".join([command.request() for command in commands])

    def receive(self) -> None:
        """Take in what has come."""
        size = self.socket.recv_into(self._reader.room())
        if not size:
            raise ConnectionResetError("the connection was closed")
        self._reader.came(size)

    def take(self, replies: list[Any], count: int) -> None:
        """Move the meaning of replies that are complete to *replies*, until they are *count*."""
        expected, gets = self._expected, self._reader.gets
        while len(replies) < count:
            if expected and expected[0] == _NOTHING:
                expected.popleft()
                replies.append({})
                continue
            reply: Any = gets()
            if reply is INCOMPLETE:
                return
            if not expected:
                raise Garbled("it says what nobody has asked")
            try:
                replies.append(expected.popleft().reply(reply))
            except Refused as error:
                replies.append(error)
            except ValueError as error:
                raise Garbled(str(error)) from error

    def close(self) -> None:
        self.socket.close()


def granted(replies: list[Any]) -> list[Any]:
    """*replies*, if none of them is a refusal."""
    if Refused in map(type, replies):
        raise next(reply for reply in replies if type(reply) is Refused)
    return replies


class Server(Lender[Connection]):
    """One server: its connections, and a breaker that knows whether it answers.

    What :meth:`run` and :meth:`arun` raise is :exc:`StoreUnavailable`, or :exc:`Refused`.
    """

    def __init__(self, address: Address, **options: Any) -> None:
        super().__init__()
        self.address = address
        self.timeout = options.get("timeout", RESPONSE_TIMEOUT)
        #: The connections of event loops.
        self.lines = Seats(self)
        self._options = options

    @property
    def name(self) -> str:
        """The address as it is written."""
        address = self.address
        return address if isinstance(address, str) else f"{address[0]}:{address[1]}"

    def run(self, operation: Operation[T]) -> T:
        """What *operation* returns on a connection."""
        self.breaker.check()
        try:
            result = self._run_again(operation)
        except OSError as error:
            raise self.failed(error) from error
        self.breaker.succeeded()
        return result

    async def arun(self, operation: Operation[T]) -> T:
        """:meth:`run`, without waiting in a thread."""
        return await self.lines.run(
            lambda line: _run_on_line(line, operation), lambda: self.run(operation)
        )

    def connect(self) -> Connection:
        return Connection(self.address, epoch=self._epoch, **self._options)

    def failed(self, error: Exception) -> StoreUnavailable:
        self.breaker.failed(error)
        return StoreUnavailable(f"memcached at {self.name} does not answer: {error}")

    def _run_again(self, operation: Operation[T]) -> T:
        connection = self.take()
        if connection is None:
            return self._run(self.connect(), operation)
        try:
            return self._run(connection, operation)
        except TimeoutError:
            raise  # not tried again: the visitor has waited already
        except OSError:
            # The server has closed it meanwhile, and others of its age as well. From the start:
            # what was read over one connection is not to be swapped over another.
            self.retire(connection)
            return self._run(self.connect(), operation)

    def _run(self, connection: Connection, operation: Operation[T]) -> T:
        try:
            result = carried_out(operation(connection.identity), connection.exchange)
        except (Refused, StoreUnavailable):
            self.keep(connection)
            raise
        except BaseException:
            # Also what interrupts us: a soft time limit, a signal's handler.
            connection.close()
            raise
        self.keep(connection)
        return result


async def _run_on_line(line: Line[Connection], operation: Operation[T]) -> T:
    wire = line.wire

    async def exchange(commands: Sequence[Command]) -> list[Any]:
        if line.is_lost:  # by another task, between two steps
            raise ConnectionResetError("the connection was lost")
        return granted(await line.exchange(wire.asked(commands), len(commands)))

    return await awaited_to_the_end(operation(wire.identity), exchange)


def _connected(address: Address, timeout: float) -> socket.socket:
    if not isinstance(address, str):
        made = socket.create_connection(address, timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(timeout)
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made
