"""Memcached's commands: what is sent, and what the reply means."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from django_layercache.stores.memcached_replies import Garbled, Item, Reply, Section

__all__ = [
    "Add",
    "Append",
    "Cas",
    "Command",
    "Delete",
    "Get",
    "Incr",
    "Item",
    "Left",
    "Refused",
    "Set",
    "Stats",
    "Steps",
    "one_by_one",
    "pipeline",
]


T = TypeVar("T")


class Refused(Exception):
    """The server answers, and does not do it: no memory, or the item is too large."""


def _line(reply: Reply) -> bytes:
    """*reply*, which has to be a line."""
    if isinstance(reply, Section):
        raise Garbled("items, and nobody asked for any")
    if reply.startswith(b"SERVER_ERROR"):
        raise Refused(reply.decode("latin-1"))
    if reply.startswith((b"ERROR", b"CLIENT_ERROR")):
        raise Garbled(reply.decode("latin-1"))
    return reply


def _section(reply: Reply) -> Section:
    if isinstance(reply, Section):
        return reply
    raise Garbled(_line(reply).decode("latin-1"))


class Get(NamedTuple):
    """The items under *keys*, fetched in this order; those that there are, by key.

    Without keys nothing is sent, and nothing comes.
    """

    keys: tuple[bytes, ...]

    def request(self) -> bytes:
        return b"gets %b\r\n" % b" ".join(self.keys) if self.keys else b""

    def reply(self, reply: Reply) -> dict[bytes, Item]:
        return _section(reply).items


class Set(NamedTuple):
    """Put *value* under *key* for *ttl* seconds, for ever if 0. Like all that store: whether it did."""

    key: bytes
    value: bytes
    ttl: int = 0

    def request(self) -> bytes:
        return b"set %b 0 %d %d\r\n%b\r\n" % (self.key, self.ttl, len(self.value), self.value)

    def reply(self, reply: Reply) -> bool:
        return _line(reply) == b"STORED"


class Add(NamedTuple):
    """:class:`Set`, if there is nothing."""

    key: bytes
    value: bytes
    ttl: int = 0

    def request(self) -> bytes:
        return b"add %b 0 %d %d\r\n%b\r\n" % (self.key, self.ttl, len(self.value), self.value)

    def reply(self, reply: Reply) -> bool:
        return _line(reply) == b"STORED"


class Cas(NamedTuple):
    """:class:`Set`, if the item is there and was not changed since it had the number *unique*."""

    key: bytes
    value: bytes
    unique: bytes
    ttl: int = 0

    def request(self) -> bytes:
        head = (self.key, self.ttl, len(self.value), self.unique)
        return b"cas %b 0 %d %d %b\r\n%b\r\n" % (*head, self.value)

    def reply(self, reply: Reply) -> bool:
        return _line(reply) == b"STORED"


class Append(NamedTuple):
    """Put *value* behind what is under *key*, if there is anything."""

    key: bytes
    value: bytes

    def request(self) -> bytes:
        return b"append %b 0 0 %d\r\n%b\r\n" % (self.key, len(self.value), self.value)

    def reply(self, reply: Reply) -> bool:
        return _line(reply) == b"STORED"


class Incr(NamedTuple):
    """Add *by* to the number under *key*; the new number, or ``None`` if there is none."""

    key: bytes
    by: int

    def request(self) -> bytes:
        return b"incr %b %d\r\n" % (self.key, self.by)

    def reply(self, reply: Reply) -> int | None:
        line = _line(reply)
        return int(line) if line.isdigit() else None


class Delete(NamedTuple):
    """Drop what is under *key*, if anything."""

    key: bytes

    def request(self) -> bytes:
        return b"delete %b\r\n" % self.key

    def reply(self, reply: Reply) -> bool:
        return _line(reply) == b"DELETED"


class Left(NamedTuple):
    """How many seconds the item under *key* has left, ``None`` for ever; 0 where a server before 1.6 cannot tell."""

    key: bytes

    def request(self) -> bytes:
        return b"mg %b t\r\n" % self.key

    def reply(self, reply: Reply) -> float | None:
        if isinstance(reply, Section):
            raise Garbled("items, and nobody asked for any")
        found, _, left = reply.partition(b" t")
        if found != b"HD":
            return 0.0
        return None if left == b"-1" else float(left)


class Stats(NamedTuple):
    """What the server says of itself."""

    def request(self) -> bytes:
        return b"stats\r\n"

    def reply(self, reply: Reply) -> dict[bytes, bytes]:
        return _section(reply).stats


Command = Get | Set | Add | Cas | Append | Incr | Delete | Left | Stats

#: An operation without its I/O: it yields commands that go out together, and is sent the replies.
Steps = Generator[Sequence[Command], list[Any], T]


def pipeline(commands: Sequence[Command]) -> Steps[list[Any]]:
    """The operation that is *commands*, and no more."""
    return (yield commands)


def one_by_one(commands: Sequence[Command]) -> Steps[None]:
    """The operation that is *commands*, each with a reply before the next one is sent.

    Over TLS memcached (1.6.18) does not always notice that more has come than one large item.
    """
    for command in commands:
        yield [command]
