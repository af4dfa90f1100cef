"""What is asked of the servers of a Redis Cluster, written once for threads and event loops.

An operation is a generator. It yields errands, which are done at once on an event loop and one after
the other in a thread, and is sent what came of them; or it yields something that takes a while, and
waits until that has been called.
"""

import asyncio
import secrets
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import redis

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.loops import Lines
from django_layercache.stores.steps import awaited_to_the_end, carried_out
from django_layercache.stores.wire import Wire, Wires

__all__ = ["WHOM", "Errand", "Errands", "NodeWire", "NodeWires", "Outcome", "arun", "run"]

#: In bytes that are to be sent, this stands for the identity of whoever they are sent to. As long as one is.
WHOM = secrets.token_hex(20)

T = TypeVar("T")


class NodeWire(Wire):
    """One that knows whom it leads to."""

    __slots__ = ("identity",)

    identity: bytes

    def worded(self, commands: bytes) -> bytes:
        if WHOM.encode() in commands:
            return commands.replace(WHOM.encode(), self.identity)
        return commands


class NodeWires(Wires):
    """The wires to one of the servers, and the lines over them."""

    wire_class = NodeWire

    def __init__(self, pool: redis.ConnectionPool, greet: Callable[[Any], None]) -> None:
        super().__init__(pool, greet)
        self.lines = Lines(self)
        #: When the last exchange began that has succeeded.
        self.alive_at = float("-inf")


class Errand(NamedTuple):
    """Commands for one of the servers, and how many they are."""

    wires: NodeWires
    commands: bytes
    number: int

    def run(self) -> "Outcome":
        """The replies, or that there are none."""
        try:
            return self.wires.exchange(self.commands, self.number)
        except StoreUnavailable as error:
            return error

    async def arun(self) -> "Outcome":
        """:meth:`run`."""
        try:
            return await self.wires.lines.exchange(self.commands, self.number)
        except StoreUnavailable as error:
            return error


Outcome = list[Any] | StoreUnavailable
Wanted = Sequence[Errand] | Callable[[], object]
Errands = Generator[Wanted, Any, T]


def run(errands: Errands[T]) -> T:
    """What *errands* return."""
    return carried_out(errands, _outcomes)


async def arun(errands: Errands[T]) -> T:
    """:func:`run`; nothing but what takes a while goes to a thread."""
    return await awaited_to_the_end(errands, _aoutcomes)


def _outcomes(wanted: Wanted) -> Any:
    return wanted() if callable(wanted) else [errand.run() for errand in wanted]


async def _aoutcomes(wanted: Wanted) -> Any:
    if callable(wanted):
        return await asyncio.to_thread(wanted)
    if len(wanted) == 1:
        return [await wanted[0].arun()]
    return await asyncio.gather(*(errand.arun() for errand in wanted))
