"""Pools: the values of one type, of all columns that have it, written and read in one go.

A pool has a letter:

- ``s`` (texts), ``m`` (moments: datetimes), ``d`` (dates), ``t`` (times) and ``n`` (decimals) are
  spelt, with NULs between the values;
- ``l`` (long texts, and those with a NUL) have the format of :mod:`struct` before them that cuts
  them: nothing has to look for their ends;
- ``i``, ``q`` (integers of 32 and 64 bits), ``f`` (floats), ``o`` (booleans) and ``p`` (periods:
  timedeltas) are numbers, little-endian; ``u`` (UUIDs) are their bytes;
- ``b``, ``v`` (bytes, memoryviews) follow a separator of four bytes, which is between them, too,
  and cannot be mistaken for a part of them;
- ``a`` (lists) are the letter of what is in them, their number, their sizes, and a pool of it all;
- ``j`` (what JSON knows) and ``k`` (other plain values, with their kinds beside them) are JSON.

A capital says that there are NULLs: their number and their places come first, and something else
stands there. Nothing is decided value by value: each function is a few loops in C over a pool.
"""

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from itertools import chain, count, repeat, starmap
from operator import attrgetter
from typing import Any
from uuid import UUID, SafeUUID

from django_layercache.serializers.forms import Bytes, encode_json, scan_json
from django_layercache.serializers.values import DECODERS, NONE, TAGGED, is_plain, tagged

__all__ = ["READERS", "letter_of", "written"]

Reader = Callable[[Bytes], Iterable[Any]]
Writer = Callable[[Sequence[Any]], bytes]

#: Letters, on the average: from there on it takes too long to look for the ends.
_LONG = 120
#: Texts that are cut at once. They are decoded before the next ones are, which then use their memory.
_BATCH = 64
_COUNT, _PERIOD, _LISTS = struct.Struct("<I"), struct.Struct("<iii"), struct.Struct("<sI")


# -- which pool ---------------------------------------------------------------------------------


def letter_of(column: Sequence[Any]) -> str:
    """The pool for the values of *column*."""
    types = set(map(type, column))
    has_nulls = NONE in types and len(types) == 2
    if has_nulls:
        types.discard(NONE)
        column = [value for value in column if value is not None]
    if len(types) == 1:
        letter = _LETTERS.get(types.pop())
        if letter is not None:
            letter = letter(column) if callable(letter) else letter
            return letter.upper() if has_nulls and letter not in _HEAPS else letter
    return "j" if all(map(is_plain, column)) else "k"


def _letter_of_texts(texts: Sequence[str]) -> str:
    text = "".join(texts)
    return "l" if len(text) > _LONG * len(texts) or "\0" in text else "s"


def _letter_of_integers(numbers: Sequence[int]) -> str:
    bits = max(map(int.bit_length, numbers))
    return "i" if bits < 32 else "q" if bits < 64 else "j"


def _letter_of_times(letter: str, values: Sequence[Any]) -> str:
    zones = set(map(type, map(attrgetter("tzinfo"), values)))
    is_plain_time = zones <= {NONE, timezone} and not any(map(attrgetter("fold"), values))
    return letter if is_plain_time else "k"


_HEAPS = ("j", "k")
_LETTERS: dict[type, str | Callable[[Sequence[Any]], str]] = {
    str: _letter_of_texts,
    datetime: partial(_letter_of_times, "m"),
    date: "d",
    time: partial(_letter_of_times, "t"),
    Decimal: "n",
    UUID: "u",
    int: _letter_of_integers,
    float: "f",
    bool: "o",
    timedelta: "p",
    bytes: "b",
    memoryview: "v",
    list: "a",
}


# -- writing ------------------------------------------------------------------------------------


def written(letter: str, pool: Sequence[Any]) -> bytes:
    """*pool* as the bytes of *letter*; raises :exc:`~django_layercache.exceptions.Unstorable`."""
    write = _WRITERS[letter.lower()]
    if letter.islower():
        return write(pool)
    places = [place for place, value in enumerate(pool) if value is None]
    filler = _FILLERS[letter]
    pool = [filler if value is None else value for value in pool]
    return struct.pack(f"<{len(places) + 1}I", len(places), *places) + write(pool)


def _writer_of_spelt(spell: Callable[[Any], str]) -> Writer:
    return lambda pool: "\0".join(map(spell, pool)).encode()


def _write_long(texts: Sequence[str]) -> bytes:
    parts = list(map(str.encode, texts))
    sizes = tuple(map(len, parts))
    batches = [sizes[begin : begin + _BATCH] for begin in range(0, len(sizes), _BATCH)]
    forms = " ".join(["%ds" * len(batch) % batch for batch in batches]).encode()
    return b"".join([_COUNT.pack(len(forms)), forms, *parts])


def _writer_of_numbers(form: str) -> Writer:
    return lambda pool: struct.pack(f"<{len(pool)}{form}", *pool)


def _write_periods(periods: Sequence[timedelta]) -> bytes:
    parts = map(attrgetter("days", "seconds", "microseconds"), periods)
    return b"".join(starmap(_PERIOD.pack, parts))


def _write_uuids(uuids: Sequence[UUID]) -> bytes:
    return b"".join(map(int.to_bytes, map(attrgetter("int"), uuids), repeat(16)))


def _write_blobs(pool: Sequence[Bytes]) -> bytes:
    blobs = list(map(bytes, pool))
    separator = next(s for s in _separators() if s.join(blobs).split(s) == blobs)
    return separator + separator.join(blobs)


def _separators() -> Iterator[bytes]:
    for number in count():
        yield hashlib.blake2b(b"%d" % number, digest_size=4).digest()


def _write_lists(lists: Sequence[list[Any]]) -> bytes:
    items = list(chain.from_iterable(lists))
    letter = letter_of(items)
    head = struct.pack(f"<sI{len(lists)}I", letter.encode(), len(lists), *map(len, lists))
    return head + written(letter, items)


_WRITERS: dict[str, Writer] = {
    "s": lambda texts: "\0".join(texts).encode(),
    "m": _writer_of_spelt(datetime.isoformat),
    "d": _writer_of_spelt(date.isoformat),
    "t": _writer_of_spelt(time.isoformat),
    "n": _writer_of_spelt(str),
    "l": _write_long,
    "i": _writer_of_numbers("i"),
    "q": _writer_of_numbers("q"),
    "f": _writer_of_numbers("d"),
    "o": _writer_of_numbers("?"),
    "p": _write_periods,
    "u": _write_uuids,
    "b": _write_blobs,
    "v": _write_blobs,
    "a": _write_lists,
    "j": encode_json,
    "k": lambda values: encode_json(list(map(tagged, values))),
}
_FILLERS: dict[str, Any] = {
    "S": "",
    "M": datetime.min,  # noqa: DTZ901 - nobody gets to see it
    "D": date.min,
    "T": time.min,
    "N": Decimal(0),
    "L": "",
    "I": 0,
    "Q": 0,
    "F": 0.0,
    "O": False,
    "P": timedelta(0),
    "U": UUID(int=0),
    "B": b"",
    "V": b"",
    "A": [],
}


# -- reading ------------------------------------------------------------------------------------


def _reader_of_spelt(read: Callable[[str], Any]) -> Reader:
    return lambda part: map(read, str(part, "ascii").split("\0"))


def _read_long(part: Bytes) -> Iterable[str]:
    (size,) = _COUNT.unpack_from(part)
    begin = _COUNT.size + size
    forms = bytes(part[_COUNT.size : begin]).split()
    return map(bytes.decode, chain.from_iterable(_cut(forms, part[begin:])))


def _cut(forms: list[bytes], texts: Bytes) -> Iterator[tuple[bytes, ...]]:
    end = 0
    for form in forms:
        batch = struct.Struct(form)
        yield batch.unpack_from(texts, end)
        end += batch.size
    if end != len(texts):
        raise ValueError("too many bytes, or too few")


def _reader_of_numbers(form: str) -> Reader:
    width = struct.calcsize(form)
    return lambda part: struct.unpack(f"<{len(part) // width}{form}", part)


def _read_uuids(part: Bytes) -> Iterable[UUID]:
    # What the constructor does, for all of them at once.
    numbers = struct.Struct("16s" * (len(part) // 16)).unpack(part)
    uuids = list(map(object.__new__, repeat(UUID, len(numbers))))
    deque(map(_set_number, uuids, map(int.from_bytes, numbers)), 0)
    deque(map(_set_safety, uuids, repeat(SafeUUID.unknown)), 0)
    return uuids


_set_number: Callable[[UUID, int], None] = vars(UUID)["int"].__set__
_set_safety: Callable[[UUID, SafeUUID], None] = vars(UUID)["is_safe"].__set__


def _read_blobs(part: Bytes) -> list[bytes]:
    data = bytes(part)
    return data[4:].split(data[:4])


def _read_lists(part: Bytes) -> list[list[Any]]:
    letter, count = _LISTS.unpack_from(part)
    sizes = struct.unpack_from(f"<{count}I", part, _LISTS.size)
    items = list(READERS[letter.decode()](part[_LISTS.size + 4 * count :]))
    if len(items) != sum(sizes):
        raise ValueError("too many items, or too few")
    end = 0
    return [items[end : (end := end + size)] for size in sizes]


def _read_with_nulls(read: Reader, part: Bytes) -> Iterable[Any]:
    (size,) = _COUNT.unpack_from(part)
    values = list(read(part[4 * size + 4 :]))
    for place in struct.unpack_from(f"<{size}I", part, 4):
        values[place] = None
    return values


#: By letter. Whatever these raise means that the bytes are not what :func:`written` writes.
READERS: dict[str, Reader] = {
    "s": lambda part: str(part, "utf-8").split("\0"),
    "m": _reader_of_spelt(datetime.fromisoformat),
    "d": _reader_of_spelt(date.fromisoformat),
    "t": _reader_of_spelt(time.fromisoformat),
    "n": _reader_of_spelt(Decimal),
    "l": _read_long,
    "i": _reader_of_numbers("i"),
    "q": _reader_of_numbers("q"),
    "f": _reader_of_numbers("d"),
    "o": _reader_of_numbers("?"),
    "p": lambda part: starmap(timedelta, _PERIOD.iter_unpack(part)),
    "u": _read_uuids,
    "b": _read_blobs,
    "v": lambda part: map(memoryview, _read_blobs(part)),
    "a": _read_lists,
}
READERS |= {letter.upper(): partial(_read_with_nulls, read) for letter, read in READERS.items()}
READERS |= {
    "j": scan_json,
    "k": lambda part: map(DECODERS[TAGGED], scan_json(part)),
}
