"""The near tier's level ``pushed``: the server says which tokens have changed, and the rest still count.

One connection for each process is told by the server of every token that is deleted, replaced,
evicted or expired, and of every new generation (Redis calls it client-side caching, in broadcast
mode). What has arrived is applied before each use. A mark deletes the token before the COMMIT, so
as a rule the message is here before the COMMIT has returned; but nobody waits for that.

What bounds it for certain is a pulse: a few times a second a thread changes a key of its own, by
the connections by which tokens are changed, and hears of that on this one, behind all that was
said before it. Tokens are used as long as the last beat that was heard was sent no longer than
*bound* seconds ago. So nothing is used that is older than that, whatever the network, the server
or this process went through, and whichever server is the primary now; and where the connection is
lost, everything is forgotten.
"""

import logging
import os
import secrets
import select
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol
from weakref import WeakSet

from django_layercache.stores.base import Reading, Store
from django_layercache.stores.near import Tokens
from django_layercache.stores.resp import is_push
from django_layercache.stores.wire import Wire

__all__ = ["PushedTokens", "PushingStore"]

#: More tokens than this are not remembered, nor more changes.
MOST_TOKENS = 100_000
MOST_CHANGES = 10_000
#: Seconds after which a process that reads nothing gives its connection back.
IDLE = 60.0

logger = logging.getLogger("django_layercache.stores")


class PushingStore(Store, Protocol):
    """A store whose server says by itself which tokens have changed."""

    def track(self, pulse: str) -> Wire:
        """A new wire on which it does, and repeats each beat of *pulse*."""
        ...

    def beat(self, beat: str) -> None:
        """Say *beat*, which begins with a pulse."""
        ...

    def changed(self, name: bytes) -> tuple[str, str]:
        """What has changed: ``t`` and a tag, ``pulse`` and which beat, ``generation``."""
        ...


class _Clock:
    # Out of reach of tools that freeze time, as in shelf.py; and one that goes on while the
    # machine sleeps, where there is one.
    now: Callable[[], float] = (
        partial(time.clock_gettime, time.CLOCK_BOOTTIME)
        if hasattr(time, "CLOCK_BOOTTIME")
        else staticmethod(time.monotonic)
    )


def _poller(connection: socket.socket) -> Callable[[], Any]:
    """Whether something has come: in a third of the time that it takes to receive nothing."""
    if not hasattr(select, "poll"):
        return lambda: True
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return partial(poll.poll, 0)


class _Link:
    """The connection. ``sent`` is the last beat and when it was sent, until it is heard.

    ``confirmed`` is when the last one that was heard was sent.
    """

    __slots__ = ("_has_something", "confirmed", "sent", "wire")

    def __init__(self, wire: Wire) -> None:
        wire.socket.setblocking(False)
        self.wire = wire
        self._has_something = _poller(wire.socket)
        self.confirmed = float("-inf")
        self.sent: tuple[str, float] | None = None

    def changes(self) -> Iterable[list[bytes] | None]:
        """The names of the keys that have changed, as far as that has arrived; ``None`` for all."""
        if not self._has_something():
            return ()
        try:
            while True:
                self.wire.receive()
        except (BlockingIOError, ssl.SSLWantReadError):
            pass  # that is all
        messages: list[Any] = []
        self.wire.take_all(messages)
        if not all(map(is_push, messages)):
            raise ConnectionError("an answer, and nothing was asked")
        return [message[1] for message in messages if message[0] == b"invalidate"]

    def hear(self, beat: str) -> None:
        """A beat has come; or an earlier one expires."""
        if self.sent is not None and self.sent[0] == beat:
            self.confirmed, self.sent = self.sent[1], None


class PushedTokens:
    """Tokens, as *store* pushes them. *bound* is how old they may be for certain, in seconds."""

    def __init__(
        self,
        store: PushingStore,
        *,
        bound: float = 1.0,
        pause: float = 0.25,
        clock: Callable[[], float] = _Clock.now,
    ) -> None:
        self._store = store
        self._bound = bound
        self._pause = pause
        self._clock = clock
        self._refused = False
        self._begin_anew()
        _instances.add(self)

    def _begin_anew(self) -> None:
        self._pulse, self._beats = secrets.token_hex(8), 0
        self._lock = threading.Lock()
        self._link: _Link | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._used = 0.0
        self._tokens = Tokens({})
        #: How many changes were heard of; the latest of each tag; and up to which one all tags are known.
        self._count = self._all_known_since = 0
        self._changed: OrderedDict[str, int] = OrderedDict()

    # -- what the near tier calls -----------------------------------------------------------

    def tokens(self) -> Tokens | None:
        with self._lock:
            self._used = now = self._clock()
            link = self._link
            if link is not None:
                self._apply(link)
                if now - link.confirmed <= self._bound:
                    return self._tokens
            elif self._thread is None:
                self._start()
        return None

    def begin(self) -> Any:
        return self._tokens, self._count

    def learn(self, ticket: Any, reading: Reading) -> None:
        tokens, count = ticket
        with self._lock:
            if tokens is not self._tokens or self._link is None:
                return  # nobody would have told of changes since the reading
            tokens.position = reading.sequence
            for tag, state in reading.states.items():
                if state is None:  # pending
                    tokens.by_tag.pop(tag, None)
                elif count >= self._all_known_since and self._changed.get(tag, 0) <= count:
                    tokens.by_tag[tag] = state
            while len(tokens.by_tag) > MOST_TOKENS:
                del tokens.by_tag[next(iter(tokens.by_tag))]

    def forget(self, tags: Iterable[str]) -> None:
        with self._lock:
            self._forget(tags)

    def clear(self) -> None:
        with self._lock:
            self._tokens = Tokens({})

    def close(self) -> None:
        with self._lock:
            self._stopped.set()
            self._stopped, self._thread = threading.Event(), None
            self._drop()

    # -- with the lock held -----------------------------------------------------------------

    def _apply(self, link: _Link) -> None:
        try:
            changes = link.changes()
        except OSError:
            self._drop()
        except BaseException:
            self._drop()  # interrupted, perhaps between receiving and understanding
            raise
        else:
            for names in changes:
                if names is None:
                    self._tokens = Tokens({})
                else:
                    self._apply_one(link, [self._store.changed(name) for name in names])

    def _apply_one(self, link: _Link, changed: list[tuple[str, str]]) -> None:
        if any(kind == "generation" for kind, _ in changed):
            self._tokens = Tokens({})
        self._forget(tag for kind, tag in changed if kind == "t")
        for kind, beat in changed:
            if kind == "pulse":
                link.hear(beat)

    def _forget(self, tags: Iterable[str]) -> None:
        self._count += 1
        for tag in tags:
            self._tokens.by_tag.pop(tag, None)
            self._changed[tag] = self._count
            self._changed.move_to_end(tag)
        while len(self._changed) > MOST_CHANGES:
            self._all_known_since = self._changed.popitem(last=False)[1]

    def _drop(self) -> None:
        link, self._link = self._link, None
        self._tokens = Tokens({})
        if link is not None:
            link.wire.close()

    def _start(self) -> None:
        self._thread = threading.Thread(
            target=self._beat, args=(self._stopped,), name="layercache-pushes", daemon=True
        )
        self._thread.start()

    # -- the thread -------------------------------------------------------------------------

    def _beat(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                self._keep_alive(stopped)
            except Exception as error:
                with self._lock:
                    if not stopped.is_set():
                        self._drop()
                self._complain(error)
            with self._lock:
                if not stopped.is_set() and self._clock() - self._used > IDLE:
                    self._drop()
                    self._thread = None
                    return
            stopped.wait(self._pause)

    def _keep_alive(self, stopped: threading.Event) -> None:
        if self._link is None:
            link = _Link(self._store.track(self._pulse))
            with self._lock:
                if stopped.is_set():
                    link.wire.close()
                    return
                # Only what is asked for from now on may be learned.
                self._link, self._tokens = link, Tokens({})
        with self._lock:
            if stopped.is_set() or (current := self._link) is None:
                return
            self._apply(current)
            now = self._clock()
            if current.sent is not None:
                if now - current.sent[1] > self._bound:
                    self._drop()  # it is deaf; or another server is the primary now
                return
            self._beats += 1
            beat = f"{self._pulse}.{self._beats}"
            current.sent = beat, now
        self._store.beat(beat)
        self._refused = False

    def _complain(self, error: Exception) -> None:
        if not self._refused:
            logger.warning("The near tier asks for its tokens, as none are pushed: %s", error)
        self._refused = True


_instances: WeakSet[PushedTokens] = WeakSet()


def _after_fork() -> None:
    for tokens in list(_instances):
        link = tokens._link
        tokens._begin_anew()
        if link is not None:
            link.wire.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
