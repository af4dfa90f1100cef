"""Connections to one server that are kept, and lent to whoever comes next: a thread, or an event loop."""

import socket
from typing import Any, Generic, Protocol, TypeVar

from django_layercache.exceptions import StoreUnavailable
from django_layercache.forks import forget_in_children
from django_layercache.stores.breaker import Breaker

__all__ = ["Lender", "Lent", "W"]


class Lent(Protocol):
    """One connection. Whoever holds it is alone with it."""

    socket: socket.socket
    #: The lender's when it was made.
    epoch: int

    def receive(self) -> None:
        """Take in what has come; an ``OSError`` if nothing ever will."""
        ...

    def take(self, replies: list[Any], count: int) -> None:
        """Move replies that are complete to *replies*, until they are *count*."""
        ...

    def close(self) -> None:
        """In a child of the process that made it, only the child's copy."""
        ...


W = TypeVar("W", bound=Lent)


class Lender(Generic[W]):
    """Those to one server. *timeout* is how many seconds a reply may take."""

    #: What is raised when the server does not answer.
    failures: tuple[type[Exception], ...] = (OSError,)
    timeout: float

    def __init__(self) -> None:
        self.breaker = Breaker()
        self._idle: list[W] = []
        self._epoch = 0
        forget_in_children(self)

    def connect(self) -> W:
        """A new one."""
        raise NotImplementedError

    def failed(self, error: Exception) -> StoreUnavailable:
        """Note that the server does not answer, as *error* says; what is to be raised for that."""
        raise NotImplementedError

    def is_due(self) -> bool:
        """Whether :meth:`follow` is to be called before a connection is used again."""
        return False

    def follow(self) -> None:
        """See that the connections lead to where the server is now. May take a while."""

    def take(self) -> W | None:
        """One that nobody uses, if there is one; to be given to :meth:`keep` afterwards."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def keep_new(self) -> None:
        """Make one, for whoever takes one next."""
        self.keep(self.connect())

    def is_current(self, wire: W) -> bool:
        """Whether *wire* was made after the last :meth:`close`."""
        return wire.epoch == self._epoch

    def keep(self, wire: W) -> None:
        """Take *wire* back."""
        if self.is_current(wire):
            self._idle.append(wire)
        else:
            wire.close()

    def retire(self, wire: W) -> None:
        """Close all that are as old as *wire*."""
        if self.is_current(wire):
            self.close()

    def close(self) -> None:
        """Close all: those that are lent when they come back."""
        self._epoch += 1
        idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()

    def forget(self) -> None:
        """Begin anew in a child of the process that made these connections."""
        self.breaker = Breaker()
        self.close()
