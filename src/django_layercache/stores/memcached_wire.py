"""Memcached's text protocol, as far as the `memcached` store needs it: pipelines over pooled sockets.

A client of our own, as no library's sends several compare-and-swaps in one round trip. What the
library of the project's alias is told (addresses, time-outs, TLS) is told to this one.
"""

import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO, TypeVar

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.breaker import Breaker
from django_layercache.stores.memcached_commands import Command, Item, Stats

__all__ = ["Address", "Connection", "Refused", "Server"]

#: Seconds, where the project's own alias says nothing.
CONNECT_TIMEOUT = 0.25
RESPONSE_TIMEOUT = 0.5

#: Commands that are under way before the first reply is read. Were there no bound, both sides
#: could come to wait for the other one to read.
_BATCH = 200

#: A host and a port, or the path of a unix socket.
Address = tuple[str, int] | str
T = TypeVar("T")


class Refused(Exception):
    """The server answers, and does not do it: no memory, or the item is too large."""


class _Garbled(ConnectionError):
    """What came is no reply; the connection is of no use any more."""


class Connection:
    """One socket. Who gets an exception from it closes it: a reply may be under way."""

    def __init__(
        self,
        address: Address,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        timeout: float = RESPONSE_TIMEOUT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = _connected(address, connect_timeout)
        self._replies: BinaryIO = BytesIO()
        try:
            if tls is not None:
                host = address if isinstance(address, str) else address[0]
                self._socket = tls.wrap_socket(self._socket, server_hostname=host)
            self._socket.settimeout(timeout)
            self._replies = self._socket.makefile("rb")
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
            raise _Garbled("it does not tell its time") from error
        return f"{stats.get(b'pid', b'?').decode('latin-1')}.{started}"

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to *commands*, which the server carries out in their order."""
        replies: list[Any] = []
        refused: Refused | None = None
        for batch in _batches(commands):
            self._socket.sendall(b"".join([command.request() for command in batch]))
            for command in batch:
                try:
                    replies.append(command.reply(self))
                except Refused as error:
                    refused = error
                except ValueError as error:
                    raise _Garbled(str(error)) from error
        if refused is not None:
            raise refused
        return replies

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    # -- for commands: the parts of a reply -----------------------------------------------

    def line(self) -> bytes:
        line = self._line()
        if line.startswith(b"SERVER_ERROR"):
            raise Refused(line.decode("latin-1").strip())
        if line.startswith((b"ERROR", b"CLIENT_ERROR")):
            raise _Garbled(line.decode("latin-1").strip())
        return line[:-2]

    def _line(self) -> bytes:
        line = self._replies.readline(65536)
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the connection was closed")
        return line

    def left(self) -> float | None:
        found, _, left = self._line().strip().partition(b" t")
        if found != b"HD":
            return 0.0
        return None if left == b"-1" else float(left)

    def is_stored(self) -> bool:
        return self.line() == b"STORED"

    def items(self) -> dict[bytes, Item]:
        found: dict[bytes, Item] = {}
        while (line := self.line()) != b"END":
            _, key, _, size, unique = line.split()
            data = self._replies.read(int(size) + 2)
            if not data.endswith(b"\r\n") or len(data) != int(size) + 2:
                raise ConnectionResetError("the connection was closed")
            found[key] = Item(data[:-2], unique)
        return found

    def stats(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        while (line := self.line()) != b"END":
            _, name, *value = line.split(b" ", 2)
            found[name] = b" ".join(value)
        return found


class Server:
    """One server: its idle connections, and a breaker that knows whether it answers."""

    def __init__(self, address: Address, **options: Any) -> None:
        self.address = address
        self._options = options
        self._breaker = Breaker()
        self._idle: deque[Connection] = deque()
        self._owner = os.getpid()

    @property
    def name(self) -> str:
        """The address as it is written."""
        address = self.address
        return address if isinstance(address, str) else f"{address[0]}:{address[1]}"

    def run(self, operation: Callable[[Connection], T]) -> T:
        """What *operation* returns on a connection; :exc:`StoreUnavailable`, or :exc:`Refused`."""
        self._breaker.check()
        try:
            result = self._run_again(operation)
        except OSError as error:
            self._breaker.failed(error)
            raise StoreUnavailable(f"memcached at {self.name} does not answer: {error}") from error
        self._breaker.succeeded()
        return result

    def _run_again(self, operation: Callable[[Connection], T]) -> T:
        # Once more, for a pooled connection that the server has closed meanwhile, and from the
        # start: what was read over one connection is not to be swapped over another. A time-out
        # is not tried again: the visitor has waited already.
        try:
            return self._run(operation)
        except ConnectionError:
            self.close()
            return self._run(operation)

    def _run(self, operation: Callable[[Connection], T]) -> T:
        connection = self._take()
        try:
            result = operation(connection)
        except (Refused, StoreUnavailable):
            self._idle.append(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return result

    def _take(self) -> Connection:
        if self._owner != os.getpid():  # a fork shares its parent's sockets
            self._idle, self._owner = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return Connection(self.address, **self._options)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return


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


def _batches(commands: Sequence[Command]) -> Iterator[list[Command]]:
    left = iter(commands)
    while batch := list(islice(left, _BATCH)):
        yield batch
