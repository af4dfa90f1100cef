"""Memcached's commands: what is sent, and how the reply is read."""

from typing import NamedTuple, Protocol

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
    "Set",
    "Stats",
]


class Replies(Protocol):
    """Where replies come from, part by part."""

    def line(self) -> bytes:
        """A line, without its end."""
        ...

    def is_stored(self) -> bool:
        """Whether a command that stores has stored."""
        ...

    def items(self) -> "dict[bytes, Item]":
        """Items, by key."""
        ...

    def left(self) -> float | None:
        """How many seconds an item has left."""
        ...

    def stats(self) -> dict[bytes, bytes]:
        """What a server says of itself."""
        ...


class Item(NamedTuple):
    """A value, and the number that it has until it is changed."""

    value: bytes
    unique: bytes


class Get(NamedTuple):
    """The items under *keys*, fetched in this order; those that there are, by key."""

    keys: tuple[bytes, ...]

    def request(self) -> bytes:
        return b"gets %b\r\n" % b" ".join(self.keys) if self.keys else b""

    def reply(self, replies: Replies) -> dict[bytes, Item]:
        return replies.items() if self.keys else {}


class Set(NamedTuple):
    """Put *value* under *key* for *ttl* seconds, for ever if 0. Like all that store: whether it did."""

    key: bytes
    value: bytes
    ttl: int = 0

    def request(self) -> bytes:
        return b"set %b 0 %d %d\r\n%b\r\n" % (self.key, self.ttl, len(self.value), self.value)

    def reply(self, replies: Replies) -> bool:
        return replies.is_stored()


class Add(NamedTuple):
    """:class:`Set`, if there is nothing."""

    key: bytes
    value: bytes
    ttl: int = 0

    def request(self) -> bytes:
        return b"add %b 0 %d %d\r\n%b\r\n" % (self.key, self.ttl, len(self.value), self.value)

    def reply(self, replies: Replies) -> bool:
        return replies.is_stored()


class Cas(NamedTuple):
    """:class:`Set`, if the item is there and was not changed since it had the number *unique*."""

    key: bytes
    value: bytes
    unique: bytes
    ttl: int = 0

    def request(self) -> bytes:
        head = (self.key, self.ttl, len(self.value), self.unique)
        return b"cas %b 0 %d %d %b\r\n%b\r\n" % (*head, self.value)

    def reply(self, replies: Replies) -> bool:
        return replies.is_stored()


class Append(NamedTuple):
    """Put *value* behind what is under *key*, if there is anything."""

    key: bytes
    value: bytes

    def request(self) -> bytes:
        return b"append %b 0 0 %d\r\n%b\r\n" % (self.key, len(self.value), self.value)

    def reply(self, replies: Replies) -> bool:
        return replies.is_stored()


class Incr(NamedTuple):
    """Add *by* to the number under *key*; the new number, or ``None`` if there is none."""

    key: bytes
    by: int

    def request(self) -> bytes:
        return b"incr %b %d\r\n" % (self.key, self.by)

    def reply(self, replies: Replies) -> int | None:
        line = replies.line()
        return int(line) if line.isdigit() else None


class Delete(NamedTuple):
    """Drop what is under *key*, if anything."""

    key: bytes

    def request(self) -> bytes:
        return b"delete %b\r\n" % self.key

    def reply(self, replies: Replies) -> bool:
        return replies.line() == b"DELETED"


class Left(NamedTuple):
    """How many seconds the item under *key* has left, ``None`` for ever; 0 where a server before 1.6 cannot tell."""

    key: bytes

    def request(self) -> bytes:
        return b"mg %b t\r\n" % self.key

    def reply(self, replies: Replies) -> float | None:
        return replies.left()


class Stats(NamedTuple):
    """What the server says of itself."""

    def request(self) -> bytes:
        return b"stats\r\n"

    def reply(self, replies: Replies) -> dict[bytes, bytes]:
        return replies.stats()


Command = Get | Set | Add | Cas | Append | Incr | Delete | Left | Stats
