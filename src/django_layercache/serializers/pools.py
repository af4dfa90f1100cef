"""Pools: the values of one type, of all columns that have it, written and read in one go.

A pool has a code:

- ``s``, ``dt``, ``d``, ``t``, ``n``, ``u`` (texts, datetimes, dates, times, decimals, UUIDs) are
  *spelt*, with NULs between the values;
- ``i``, ``f``, ``?``, ``td`` (integers, floats, booleans, timedeltas) are *numbers*, little-endian;
- ``b``, ``m`` (bytes, memoryviews) are *blobs*, with a separator between them that cannot be
  mistaken for a part of them.

Nothing here is decided value by value: each function is a few loops in C over whole pools.
"""

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import accumulate, chain, count, pairwise, repeat
from operator import attrgetter
from typing import Any
from uuid import UUID, SafeUUID

__all__ = [
    "BLOBS",
    "NUMBERS",
    "SPELT",
    "TYPES",
    "MisfitPool",
    "Numbers",
    "Pools",
    "Sizes",
    "Spelt",
    "read_blobs",
    "written_blobs",
    "written_numbers",
    "written_spelt",
]

#: By code.
Pools = Mapping[str, Sequence[Any]]
#: The codes of pools that follow each other, with their sizes.
Sizes = tuple[tuple[str, int], ...]

#: type -> (code, what stands for NULL)
TYPES: dict[type, tuple[str, Any]] = {
    str: ("s", ""),
    datetime: ("dt", datetime.min),  # noqa: DTZ901 - nobody gets to see it
    date: ("d", date.min),
    time: ("t", time.min),
    Decimal: ("n", Decimal(0)),
    UUID: ("u", UUID(int=0)),
    int: ("i", 0),
    float: ("f", 0.0),
    bool: ("?", False),
    timedelta: ("td", timedelta(0)),
    bytes: ("b", b""),
    memoryview: ("m", memoryview(b"")),
}
SPELT = ("s", "dt", "d", "t", "n", "u")
NUMBERS = ("i", "f", "?", "td")
BLOBS = ("b", "m")


class MisfitPool(Exception):
    """All values are of the right type, and yet the pool cannot hold one of them."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


# -- what is spelt ------------------------------------------------------------------------------


def written_spelt(pools: Pools) -> str:
    """The spelt ones of *pools*."""
    parts = ["\0".join(_WRITERS[code](pools[code])) for code in SPELT if code in pools]
    if "s" in pools and parts[0].count("\0") >= len(pools["s"]):
        raise MisfitPool("s")
    return "\0".join(parts)


class Spelt:
    """How the pools that are spelt follow each other."""

    __slots__ = ("_parts", "_size")

    def __init__(self, sizes: Sizes) -> None:
        slices = _slices([size for _, size in sizes])
        self._parts = [
            (_READERS[code], part) for (code, _), part in zip(sizes, slices, strict=True)
        ]
        self._size = slices[-1].stop

    def read(self, text: str) -> list[Iterable[Any]]:
        """The pools in *text*."""
        texts = text.split("\0")
        if len(texts) != self._size:
            raise ValueError("too many texts, or too few")
        return [read(texts[part]) for read, part in self._parts]


def _slices(sizes: Iterable[int]) -> list[slice]:
    ends = accumulate(sizes, initial=0)
    return [slice(begin, end) for begin, end in pairwise(ends)]


def _read_uuids(texts: Iterable[str]) -> list[UUID]:
    # What the constructor does, for all of them at once.
    numbers = list(map(int, texts, repeat(16)))
    if min(numbers) < 0 or max(numbers) >> 128:
        raise ValueError("not a UUID")
    values = list(map(UUID.__new__, repeat(UUID, len(numbers))))
    deque(map(object.__setattr__, values, repeat("int"), numbers), 0)
    deque(map(object.__setattr__, values, repeat("is_safe"), repeat(SafeUUID.unknown)), 0)
    return values


_WRITERS: dict[str, Callable[[Iterable[Any]], Iterable[str]]] = {
    "s": iter,
    "dt": partial(map, datetime.isoformat),
    "d": partial(map, date.isoformat),
    "t": partial(map, time.isoformat),
    "n": partial(map, str),
    "u": partial(map, attrgetter("hex")),
}
_READERS: dict[str, Callable[[list[str]], Iterable[Any]]] = {
    "s": iter,
    "dt": partial(map, datetime.fromisoformat),
    "d": partial(map, date.fromisoformat),
    "t": partial(map, time.fromisoformat),
    "n": partial(map, Decimal),
    "u": _read_uuids,
}


# -- numbers ------------------------------------------------------------------------------------


def written_numbers(pools: Pools) -> tuple[bytes, bytes]:
    """How wide the integers are, and the numbers among *pools*."""
    durations = pools.get("td", ())
    parts = [part for one in durations for part in (one.days, one.seconds, one.microseconds)]
    numbers = [pools.get("i", ()), pools.get("f", ()), pools.get("?", ()), parts]
    sizes = tuple((code, len(pools[code])) for code in NUMBERS if code in pools)
    for width in (b"i", b"q"):
        try:
            return width, Numbers(width, sizes).layout.pack(*chain.from_iterable(numbers))
        except struct.error:
            pass  # too narrow
    raise MisfitPool("i")


class Numbers:
    """How the pools of numbers follow each other."""

    __slots__ = ("_has_durations", "_slices", "layout", "size")

    def __init__(self, width: bytes, sizes: Sizes) -> None:
        formats = {"i": width.decode(), "f": "d", "?": "?", "td": "i"}
        counts = [3 * size if code == "td" else size for code, size in sizes]
        self._slices = _slices(counts)
        self._has_durations = sizes[-1:] and sizes[-1][0] == "td"
        parts = [f"{count}{formats[code]}" for count, (code, _) in zip(counts, sizes, strict=True)]
        self.layout = struct.Struct("<" + "".join(parts))
        self.size = self.layout.size

    def read(self, data: bytes | memoryview, begin: int) -> list[Iterable[Any]]:
        """The pools in *data*."""
        numbers = self.layout.unpack_from(data, begin)
        pools: list[Iterable[Any]] = [numbers[part] for part in self._slices]
        if self._has_durations:
            parts = iter(pools[-1])
            pools[-1] = map(timedelta, parts, parts, parts)
        return pools


# -- blobs --------------------------------------------------------------------------------------


def written_blobs(pools: Pools) -> tuple[bytes, bytes]:
    """The blobs among *pools*, and their separator."""
    blobs = [bytes(blob) for code in BLOBS for blob in pools.get(code, ())]
    if not blobs:
        return b"", b""
    separator = next(s for s in _separators() if s.join(blobs).split(s) == blobs)
    return separator, separator.join(blobs)


def _separators() -> Iterator[bytes]:
    for number in count():
        yield hashlib.blake2b(b"%d" % number, digest_size=4).digest()


def read_blobs(data: bytes, separator: bytes, sizes: Sizes) -> list[Iterable[Any]]:
    """The pools in *data*, in the order of *sizes*."""
    blobs, begin = data.split(separator), 0
    pools: list[Iterable[Any]] = []
    for code, size in sizes:
        pool = blobs[begin : begin + size]
        pools.append(pool if code == "b" else [memoryview(blob) for blob in pool])
        begin += size
    if begin != len(blobs):
        raise ValueError("too many bytes, or too few")
    return pools
