"""Many rows as bytes: the values of one type together, in a pool (:mod:`~.pools`).

The columns of a type share a pool, row by row: it is read in one go, and then each column draws
its next value from its pool for each row. In this order:

- ``R2``; how wide the integers are (``i`` or ``q``); whether the texts are in Latin-1 (``l``) or
  in UTF-8 (``u``); the number of rows; the lengths, in bytes, of the next three, and of the last;
- the codes of the columns;
- the rest, in JSON, if there is any: by code, the pools of what JSON knows itself; by code, the
  places in the pool where there is NULL (something else stands there); the blobs' separator;
- what is spelt;
- the numbers;
- the blobs.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from datetime import timezone
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from django_layercache.serializers import pools as kinds
from django_layercache.serializers.pools import (
    BLOBS,
    NUMBERS,
    SPELT,
    TYPES,
    MisfitPool,
    Numbers,
    Sizes,
    Spelt,
)
from django_layercache.serializers.values import (
    DECODERS,
    NONE,
    PLAIN,
    TAGGED,
    is_plain,
    tagged,
)

__all__ = ["FORMAT", "MOST_REMEMBERED", "Row", "dump_rows", "load_rows"]

FORMAT = b"R2"
Row = tuple[Any, ...]

#: The pools, as they follow each other.
_POOLS = (*SPELT, *NUMBERS, *BLOBS, PLAIN, TAGGED)
_POOL_OF = {kind: code for kind, (code, _) in TYPES.items()}
_FILLERS = dict(TYPES.values())
_PREFIX = struct.Struct("<2sccIIIII")
_unpack_prefix = _PREFIX.unpack_from
_SMALL = 16 * 1024
#: Bytes. More columns than anybody asks for are not remembered: somebody may want to fill the memory.
MOST_REMEMBERED = 2048
_ENCODINGS = {b"l": "latin-1", b"u": "utf-8"}
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_scan = json.JSONDecoder().raw_decode


# -- writing ------------------------------------------------------------------------------------


def dump_rows(rows: Sequence[Row]) -> bytes:
    """The bytes of *rows*; raises :exc:`~django_layercache.exceptions.Unstorable` or `ValueError`."""
    columns = list(zip(*rows, strict=True))
    if not columns:
        raise ValueError("rows without columns")
    codes = [_code(column) for column in columns]
    while True:
        try:
            return _written(len(rows), codes, columns)
        except MisfitPool as misfit:
            codes = [PLAIN if code == misfit.code else code for code in codes]


def _code(column: Row) -> str:
    """The pool of *column*."""
    types = set(map(type, column))
    if len(types) == 2:
        types.discard(NONE)
    if len(types) == 1:
        code = _POOL_OF.get(types.pop())
        if code in {"dt", "t"} and not _are_plain_times(column):
            return TAGGED
        if code is not None:
            return code
    return PLAIN if all(map(is_plain, column)) else TAGGED


def _are_plain_times(column: Row) -> bool:
    values = list(filter(None, column))
    zones = set(map(type, map(attrgetter("tzinfo"), values)))
    return zones <= {NONE, timezone} and not any(map(attrgetter("fold"), values))


def _written(rows: int, codes: list[str], columns: list[Row]) -> bytes:
    nulls: dict[str, list[int]] = {}
    pools = {code: _pool(code, codes, columns, nulls) for code in _POOLS if code in codes}
    heaps = {code: pools[code] for code in (PLAIN, TAGGED) if code in pools}
    if TAGGED in heaps:
        heaps[TAGGED] = [tagged(value) for value in heaps[TAGGED]]
    separator, blobs = kinds.written_blobs(pools)
    width, numbers = kinds.written_numbers(pools)
    encoding, text = _encoded(kinds.written_spelt(pools))
    rest = b""
    if heaps or nulls or blobs:
        parts = [heaps, nulls, separator.decode("latin-1")]
        rest = _encode(parts).encode("utf-8", "surrogatepass")
    names = ",".join(codes).encode()
    sizes = len(names), len(rest), len(text), len(blobs)
    prefix = _PREFIX.pack(FORMAT, width, encoding, rows, *sizes)
    return b"".join([prefix, names, rest, text, numbers, blobs])


def _pool(
    code: str, codes: list[str], columns: list[Row], nulls: dict[str, list[int]]
) -> Sequence[Any]:
    """The values of all columns of *code*, row by row."""
    those = [column for column, other in zip(columns, codes, strict=True) if other == code]
    pool: Sequence[Any] = those[0]
    if len(those) > 1:
        pool = list(chain.from_iterable(zip(*those, strict=True)))
    if code in _FILLERS and None in pool:
        nulls[code] = [place for place, value in enumerate(pool) if value is None]
        filler = _FILLERS[code]
        pool = [filler if value is None else value for value in pool]
    return pool


def _encoded(text: str) -> tuple[bytes, bytes]:
    """In Latin-1 if possible: that is decoded several times as fast."""
    try:
        return b"l", text.encode("latin-1")
    except UnicodeEncodeError:
        return b"u", text.encode("utf-8", "surrogatepass")


# -- reading ------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """Which pools there are, with their sizes, and which column draws from which of them."""

    spelt: Spelt | None
    numbers: Numbers | None
    blobs: Sizes
    heaps: tuple[str, ...]
    #: By code, the place of the pool in the order of all; and by column.
    places: dict[str, int]
    columns: tuple[int, ...]


@lru_cache(maxsize=1024)
def _layout(codes: bytes, width: bytes, rows: int) -> _Layout:
    """What these say. A site has few kinds of queries, and asks them often."""
    columns = codes.decode().split(",")
    present = [code for code in _POOLS if code in columns]
    places = {code: place for place, code in enumerate(present)}
    sizes = [(code, rows * columns.count(code)) for code in present]
    spelt = tuple(pair for pair in sizes if pair[0] in SPELT)
    numbers = tuple(pair for pair in sizes if pair[0] in NUMBERS)
    return _Layout(
        Spelt(spelt) if spelt else None,
        Numbers(width, numbers) if numbers else None,
        tuple(pair for pair in sizes if pair[0] in BLOBS),
        tuple(code for code in present if code in {PLAIN, TAGGED}),
        places,
        tuple(places[code] for code in columns),
    )


def load_rows(data: bytes) -> list[Row]:
    """The rows in *data*. Any exception means that :func:`dump_rows` did not write it."""
    # Slices of a view copy nothing, but take longer to make.
    view = data if len(data) < _SMALL else memoryview(data)
    _, width, encoding, rows, codes_size, rest_size, text_size, blobs_size = _unpack_prefix(data)
    rest_begin = _PREFIX.size + codes_size
    text_begin = rest_begin + rest_size
    end = text_begin + text_size
    layout_of = _layout if codes_size <= MOST_REMEMBERED else _layout.__wrapped__
    layout = layout_of(data[_PREFIX.size : rest_begin], width, rows)
    pools: list[Iterable[Any]] = []
    if layout.spelt is not None:
        text = str(view[text_begin:end], _ENCODINGS[encoding], "surrogatepass")
        pools = layout.spelt.read(text)
    elif text_size:
        raise ValueError("texts of no column")
    if layout.numbers is not None:
        pools += layout.numbers.read(view, end)
        end += layout.numbers.size
    if end + blobs_size != len(data):
        raise ValueError("too many bytes, or too few")
    if rest_size:
        rest = str(view[rest_begin:text_begin], "utf-8", "surrogatepass")
        pools = _with_rest(pools, rest, data[end:], layout)
    draws = [iter(pool) for pool in pools]
    found = list(zip(*map(draws.__getitem__, layout.columns), strict=True))
    if len(found) != rows:
        raise ValueError("their number is not what it says")
    return found


def _with_rest(
    pools: list[Iterable[Any]], rest: str, blobs: bytes, layout: _Layout
) -> list[Iterable[Any]]:
    (heaps, nulls, separator), _ = _scan(rest)
    if layout.blobs:
        pools += kinds.read_blobs(blobs, separator.encode("latin-1"), layout.blobs)
    elif blobs:
        raise ValueError("bytes of no column")
    for code in layout.heaps:
        pools.append(heaps[code] if code == PLAIN else map(DECODERS[code], heaps[code]))
    for code, places in nulls.items():
        values = list(pools[layout.places[code]])
        for place in places:
            values[place] = None
        pools[layout.places[code]] = values
    return pools
