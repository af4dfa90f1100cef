"""Many rows by their columns: the values of one type together, in a pool (:mod:`~.pools`).

The columns of a type share a pool, row by row: it is read in one go, and then each column draws
its next value from its pool for each row. Such rows are ``R3``, with the letters of the columns'
pools, the sizes of the pools, in the order in which they come up first, and the pools.
"""

import struct
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from django_layercache.serializers import pools
from django_layercache.serializers.forms import Reader, Row, Written
from django_layercache.serializers.pools import READERS, letter_of

__all__ = ["POOLS", "reader_of_pools", "written"]

POOLS = b"R3"
#: Bytes.
_SMALL = 16 * 1024


def written(rows: Sequence[Row]) -> Written:
    """*rows*; raises :exc:`~django_layercache.exceptions.Unstorable` or `ValueError`."""
    columns = list(zip(*rows, strict=True))
    letters = "".join(map(letter_of, columns))
    parts = [pools.written(letter, _pool(letter, letters, columns)) for letter in _each(letters)]
    sizes = struct.pack(f"<{len(parts)}I", *map(len, parts))
    return POOLS, letters, b"".join([sizes, *parts])


def _each(letters: str) -> list[str]:
    return list(dict.fromkeys(letters))


def _pool(letter: str, letters: str, columns: list[Row]) -> Sequence[Any]:
    """The values of all columns of *letter*, row by row."""
    those = [column for column, other in zip(columns, letters, strict=True) if other == letter]
    return those[0] if len(those) == 1 else list(chain.from_iterable(zip(*those, strict=True)))


def reader_of_pools(letters: str, begin: int) -> Reader:
    """What reads such rows, from the byte *begin* on."""
    if not letters:
        raise ValueError("rows without columns")
    order = _each(letters)
    readers = [READERS[letter] for letter in order]
    sizes = struct.Struct(f"<{len(order)}I")
    unpack, start = sizes.unpack_from, begin + sizes.size
    # With one index, it would not be a tuple.
    columns = itemgetter(*map(order.index, letters)) if len(letters) > 1 else tuple

    def read(data: bytes) -> list[Row]:
        # Slices of a view copy nothing, but take longer to make.
        view = data if len(data) < _SMALL else memoryview(data)
        end = start
        draws = [
            iter(read_pool(view[end : (end := end + size)]))
            for read_pool, size in zip(readers, unpack(data, begin))  # noqa: B905 - slow, and they are as many
        ]
        if end != len(data):
            raise ValueError("too many bytes, or too few")
        return list(zip(*columns(draws), strict=True))

    return read
