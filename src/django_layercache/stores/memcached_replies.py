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


#: What announces an item: its key, its size, its number.
_ITEM = re.compile(rb"VALUE ([^ \r]+) \d+ (\d{1,10}) (\d+)\r\n").match


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
        waiting = self._view[self._at : self._end]
        if not waiting and len(self._data) == _ROOM:
            self._at = self._end = 0
        elif max(self._wanted, len(waiting) + _LEAST_ROOM) > len(self._data) - self._at:
            self._begin(max(_ROOM, self._wanted, 2 * len(waiting)))
            self._end = len(waiting)
            self._view[: self._end] = waiting
        return self._view[self._end :]

    def came(self, size: int) -> None:
        """So many bytes have been put there."""
        self._end += size

    def gets(self) -> Reply | object:
        """The next reply, or ``INCOMPLETE``."""
        while self._at < self._end:
            item = _ITEM(self._data, self._at, self._end)
            if item is not None:
                if not self._read_item(item):
                    break
                continue
            end = self._data.find(b"\r\n", self._at, self._end)
            if end < 0:
                if self._end - self._at > _LONGEST_LINE:
                    raise Garbled("a line that has no end")
                break
            line = bytes(self._view[self._at : end])
            self._at = end + 2
            if not line.startswith(b"STAT "):
                section, self._section = self._section, Section({}, {})
                return section if line == b"END" else line
            _, name, *value = line.split(b" ", 2)
            self._section.stats[name] = b" ".join(value)
        return INCOMPLETE

    def _read_item(self, item: "re.Match[bytes]") -> bool:
        """Take the item that is announced; whether it is all there."""
        key, size, unique = item.groups()
        start = item.end()
        end = start + int(size)
        if int(size) > _LARGEST:
            raise Garbled("an item that no server has")
        if end + 2 > self._end:
            self._wanted = end + 2 - self._at
            return False
        if self._data[end : end + 2] != b"\r\n":
            raise Garbled("an item of another size")
        self._section.items[key] = Item(bytes(self._view[start:end]), unique)
        self._at, self._wanted = end + 2, 0
        return True
