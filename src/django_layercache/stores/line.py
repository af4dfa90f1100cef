"""Connections on event loops: nobody waits for a reply in a thread.

An event loop has one connection, a :class:`Line`, for all of its tasks: commands go out as they
come, and the replies come back in the same order. A task that is cancelled leaves its place in the
queue, so its replies are read, and thrown away. The connections are those of the threads, and kept
for the next loop when theirs is closed (``async_to_sync`` makes a loop for each call).
"""

import asyncio
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from django_layercache.forks import forget_in_children, renewed_in_children
from django_layercache.stores.lending import Lender, W

__all__ = ["Line", "Seats"]

T = TypeVar("T")

_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Waiting:
    """Somebody's commands, on their way."""

    __slots__ = ("count", "future", "replies", "since")

    def __init__(self, future: "asyncio.Future[list[Any]]", count: int, since: float) -> None:
        self.future = future
        self.count = count
        self.since = since
        self.replies: list[Any] = []


class Line(Generic[W]):
    """A connection that the tasks of *loop* share. Used in that loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wire: W, timeout: float) -> None:
        self.wire = wire
        self.is_lost = False
        self._loop = loop
        self._timeout = timeout
        self._waiting: deque[_Waiting] = deque()
        self._unsent = bytearray()
        self._is_sending = False
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None
        wire.socket.setblocking(False)
        loop.add_reader(wire.socket, self._receive)

    def exchange(self, commands: bytes, count: int) -> "asyncio.Future[list[Any]]":
        """Send *commands*, which are *count*; the future has the replies, or an ``OSError``."""
        waiting = _Waiting(self._loop.create_future(), count, self._loop.time())
        is_alone = not self._waiting
        self._waiting.append(waiting)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._check)
        self._unsent += commands
        if is_alone:
            self._send()
        elif not self._is_sending:
            # Others are about to come: what a burst of tasks asks goes out at once.
            self._is_sending = True
            self._loop.call_soon(self._send)
        return waiting.future

    def _send(self) -> None:
        self._is_sending = False
        if self.is_lost:
            return
        try:
            del self._unsent[: self.wire.socket.send(self._unsent)]
        except _NOT_NOW:
            pass
        except OSError as error:
            self.lose(error)
            return
        if self._unsent:
            self._is_sending = True
            self._loop.add_writer(self.wire.socket, self._send_rest)

    def _send_rest(self) -> None:
        self._loop.remove_writer(self.wire.socket)
        self._send()

    def _receive(self) -> None:
        try:
            self.wire.receive()
            # What TLS has decrypted already makes no socket readable.
            while getattr(self.wire.socket, "pending", int)():
                self.wire.receive()
            self._heard = self._loop.time()
            self._hand_out()
        except _NOT_NOW:
            pass
        except OSError as error:
            self.lose(error)

    def _hand_out(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            self.wire.take(first.replies, first.count)
            if len(first.replies) < first.count:
                return
            self._waiting.popleft()
            if not first.future.done():
                first.future.set_result(first.replies)
        unasked: list[Any] = []
        self.wire.take(unasked, 1)
        if unasked:
            raise ConnectionError("the server says what nobody has asked")

    def _check(self) -> None:
        """Lose the line if whoever is first has waited too long, and nothing has come for as long."""
        self._watch = None
        if not self._waiting:
            return
        due = max(self._waiting[0].since, self._heard) + self._timeout
        if due <= self._loop.time():
            self.lose(TimeoutError("no reply in time"))
        else:
            self._watch = self._loop.call_at(due, self._check)

    def lose(self, error: OSError) -> None:
        """Nothing comes over it any more."""
        if self.is_lost:
            return
        self.give_up()
        self.wire.close()
        for waiting in self._waiting:
            if not waiting.future.done():
                waiting.future.set_exception(error)
        self._waiting.clear()

    def give_up(self) -> bool:
        """Leave the loop; whether the wire can be used by others."""
        self.is_lost = True
        if self._watch is not None:
            self._watch.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self.wire.socket)
            self._loop.remove_writer(self.wire.socket)
        return not self._waiting


class _Seat(Generic[W]):
    """An event loop's place for its line."""

    def __init__(self) -> None:
        self.line: Line[W] | None = None
        self.lock = asyncio.Lock()
        #: The loop can watch sockets. That of Windows cannot, and exchanges in threads.
        self.can_watch = True


class Seats(Generic[W]):
    """The lines over the connections that *lender* has, one for each event loop."""

    def __init__(self, lender: Lender[W]) -> None:
        self._lender = lender
        self._seats: dict[asyncio.AbstractEventLoop, _Seat[W]] = {}
        self._lock = renewed_in_children(threading.Lock())
        forget_in_children(self)

    async def run(
        self,
        operate: Callable[[Line[W]], Awaitable[T]],
        instead: Callable[[], T],
        is_outdated: Callable[[T], bool] = lambda result: False,
    ) -> T:
        """What *operate* returns on the loop's line, or :exc:`StoreUnavailable`.

        *instead* does the same where the loop cannot watch sockets, in a thread. It is begun again
        on a new connection if the server has closed this one; or if what it returns *is_outdated*.
        """
        loop = asyncio.get_running_loop()
        seat = self._seats.get(loop) or self._new_seat(loop)
        if not seat.can_watch:
            return await asyncio.to_thread(instead)
        lender = self._lender
        try:
            result = await self._run(loop, seat, operate, is_outdated)
        except NotImplementedError:
            seat.can_watch = False
            return await asyncio.to_thread(instead)
        except lender.failures as error:
            raise lender.failed(error) from error
        lender.breaker.succeeded()
        return result

    async def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        seat: _Seat[W],
        operate: Callable[[Line[W]], Awaitable[T]],
        is_outdated: Callable[[T], bool],
    ) -> T:
        line, is_new = seat.line, False
        if line is not None and self._is_usable(line):
            self._lender.breaker.check()
        else:
            line, is_new = await self._line(loop, seat)
        try:
            result = await operate(line)
            if is_new or not is_outdated(result):
                return result
        except TimeoutError:
            raise  # not tried again: the visitor has waited already
        except OSError:
            if is_new:
                raise  # else the server has closed it meanwhile, and others of its age as well
        self._lender.retire(line.wire)
        line, _ = await self._line(loop, seat)
        return await operate(line)

    def _is_usable(self, line: Line[W]) -> bool:
        if self._lender.is_due():
            return False
        if not line.is_lost and not self._lender.is_current(line.wire):
            line.lose(ConnectionResetError("closed"))
        return not line.is_lost

    async def _line(self, loop: asyncio.AbstractEventLoop, seat: _Seat[W]) -> tuple[Line[W], bool]:
        """The loop's line, and whether its wire has just been made."""
        async with seat.lock:  # whoever comes meanwhile waits for the same one
            self._lender.breaker.check()
            if self._lender.is_due():
                await asyncio.to_thread(self._lender.follow)
            if seat.line is not None and self._is_usable(seat.line):
                return seat.line, False
            wire, is_new = self._lender.take(), False
            while wire is None:
                # Kept first, and taken then: if we are cancelled here, somebody else may use it.
                await asyncio.to_thread(self._lender.keep_new)
                wire, is_new = self._lender.take(), True
            try:
                seat.line = Line(loop, wire, self._lender.timeout)
            except NotImplementedError:
                wire.close()
                raise
            return seat.line, is_new

    def _new_seat(self, loop: asyncio.AbstractEventLoop) -> _Seat[W]:
        with self._lock:
            for closed in [loop for loop in self._seats if loop.is_closed()]:
                self._clear(self._seats.pop(closed))
            seat = self._seats[loop] = _Seat[W]()
            return seat

    def _clear(self, seat: _Seat[W]) -> None:
        line = seat.line
        if line is None or line.is_lost:
            return
        if line.give_up():
            line.wire.socket.settimeout(self._lender.timeout)
            self._lender.keep(line.wire)
        else:
            line.wire.close()

    def close(self) -> None:
        """Close all lines, each in its loop's thread."""
        for loop, seat in list(self._seats.items()):
            line = seat.line
            if line is None or line.is_lost:
                continue
            try:
                loop.call_soon_threadsafe(line.lose, ConnectionResetError("closed"))
            except RuntimeError:  # the loop is closed
                line.lose(ConnectionResetError("closed"))

    def forget(self) -> None:
        """Begin anew in a child of the process that made these lines: the loops are its parent's."""
        for seat in self._seats.values():
            if seat.line is not None:
                seat.line.wire.close()
        self._seats = {}
