"""Memcached's replies, cut out of what comes over a connection, in whatever parts that is."""

import re
from typing import Final, NamedTuple

__all__ = ["INCOMPLETE", "Garbled", "Item", "Reader", "Reply", "Section"]

INCOMPLETE: Final = object()
_LONGEST_LINE = 16384
#: Bytes for which there is always room, and how many a call should be able to receive.
_ROOM = 65536
_LEAST_ROOM = 4096
#: No server has larger items.
_LARGEST = 2**30


class Garbled(ConnectionError):
    """What came is no reply; the connection is of no use any more."""


class Item(NamedTuple):
    """A value, and the number that it has until it is changed."""

    value: bytes
    unique: bytes


class Section(NamedTuple):
    """A reply that ends with ``END``: items by key, or what a server says of itself."""

    items: dict[bytes, Item]
    stats: dict[bytes, bytes]


#: A section, or a line without its end.
Reply = Section | bytes


#: What announces an item (its key, its size, its number), or ends a section.
_ITEM_OR_END = re.compile(rb"VALUE ([^ \r]+) \d+ (\d{1,10}) (\d+)\r\n|END\r\n").match


class Reader:
    """Bytes as they come, in a buffer, and the replies in it."""

    def __init__(self) -> None:
        self._begin(_ROOM)
        #: How many bytes the item takes that is not all there.
        self._wanted = 0
        self._section = Section({}, {})

    def _begin(self, size: int) -> None:
        self._data = bytearray(size)
        self._view = memoryview(self._data)
        #: From where to where there is something that was not read.
        self._at = self._end = 0

    def room(self) -> memoryview:
        """Where to put what comes next."""
        if self._at == self._end and len(self._data) == _ROOM:  # most often
            self._at = self._end = 0
            return self._view
        waiting = self._view[self._at : self._end]
        if max(self._wanted, len(waiting) + _LEAST_ROOM) > len(self._data) - self._at:
            self._begin(max(_ROOM, self._wanted, 2 * len(waiting)))
            self._end = len(waiting)
            self._view[: self._end] = waiting
        return self._view[self._end :]

    def came(self, size: int) -> None:
        """So many bytes have been put there."""
        self._end += size

    def gets(self) -> Reply | object:
        """The next reply, or ``INCOMPLETE``."""
        reply = self._read_items()
        while reply is None:
            reply = self._read_line() or self._read_items()
        return reply

    def _read_items(self) -> Section | object | None:
        """Take the items that come next; the section that they end, ``None`` before something else."""
        data, at, last, items = self._data, self._at, self._end, self._section.items
        while (found := _ITEM_OR_END(data, at, last)) is not None:
            key, size, unique = found.groups()
            start = found.end()
            if size is None:
                self._at, self._wanted = start, 0
                return self._ended()
            end = start + int(size)
            if end + 2 > last:
                if int(size) > _LARGEST:
                    raise Garbled("an item that no server has")
                self._at, self._wanted = at, end + 2 - at
                return INCOMPLETE
            if not data.startswith(b"\r\n", end):
                raise Garbled("an item of another size")
            items[key] = Item(bytes(self._view[start:end]), unique)
            at = end + 2
        self._at, self._wanted = at, 0
        return None if at < last else INCOMPLETE

    def _read_line(self) -> bytes | object | None:
        """Take the line that comes next; ``None`` if there is more to what it says."""
        end = self._data.find(b"\r\n", self._at, self._end)
        if end <= self._at:
            if not end - self._at or self._end - self._at > _LONGEST_LINE:
                raise Garbled("a line that has no end, or nothing but an end")
            return INCOMPLETE
        line = bytes(self._view[self._at : end])
        self._at = end + 2
        if not line.startswith(b"STAT "):
            self._ended()
            return line
        _, name, *value = line.split(b" ", 2)
        self._section.stats[name] = b" ".join(value)
        return None

    def _ended(self) -> Section:
        section, self._section = self._section, Section({}, {})
        return section
