"""A network in between: a proxy that can be told to cut, to swallow answers, and to lead elsewhere."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.services import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services import RedisServer


class Nowhere:
    """A server at whose address nobody is."""

    public_port = 1


class Proxy:
    """Passes on what comes to `port` to `target`, each connection to what that is when it is made.

    `swallow_answers`: the server gets and does what it is told, and nobody hears of it.
    """

    def __init__(self, target: RedisServer | Nowhere) -> None:
        self.target: RedisServer | Nowhere = target
        self.swallow_answers = False
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((HOST, self.target.public_port))
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(
                    target=self._pump, args=(source, sink, source is far), daemon=True
                ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not (is_answer and self.swallow_answers):
                    sink.sendall(data)
        self._end(source)
        self._end(sink)

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Swallow the answers for the length of the block; the connections are there afterwards."""
        self.swallow_answers = True
        try:
            yield
        finally:
            self.swallow_answers = False

    def cut(self) -> None:
        """Break all connections; new ones are welcome."""
        ends, self._open = self._open, []
        for end in ends:
            self._end(end)

    def close(self) -> None:
        """Refuse connections from now on, and break those that there are."""
        self._end(self._listener)
        self.cut()

    @staticmethod
    def _end(end: socket.socket) -> None:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
