"""Rows of nothing but numbers and short bytes as records of :mod:`struct`.

They are ``N3``, with the format of a record, their number, and the records; or ``n3``, with the
format, and the only one.
"""

import re
import struct
from collections.abc import Sequence
from itertools import chain, starmap

from django_layercache.serializers.forms import Reader, Row, Written

__all__ = ["MANY", "ONE", "reader_of_many", "reader_of_one", "written"]

MANY, ONE = b"N3", b"n3"
_COUNT = struct.Struct("<I")
_FIELDS = {int: "i", float: "d", bool: "?", bytes: "p"}
_TYPES = frozenset(_FIELDS)
#: Each field takes up room: few bytes must not become many values.
_FORMAT = re.compile(r"(?:[iqd?]|[1-9]\d{0,2}p)+")


def written(rows: Sequence[Row]) -> Written | None:
    """*rows*, if they can be records."""
    if not _TYPES.issuperset(map(type, rows[0])):
        return None
    kinds = list(map(type, rows[0]))
    if len(rows) > 1 and list(map(type, chain.from_iterable(rows))) != kinds * len(rows):
        return None
    fields = [_FIELDS[kind] for kind in kinds]
    for column, kind in enumerate(kinds):
        if kind is bytes:
            sizes = [len(row[column]) for row in rows]
            width = max(sizes) // 8 * 8 + 8
            if width > min(256, min(sizes) + 16):
                return None  # much of it would be empty
            fields[column] = f"{width}p"
    return _packed(rows, "".join(fields))


def _packed(rows: Sequence[Row], form: str) -> Written | None:
    for record in (form, form.replace("i", "q")):
        try:
            data = b"".join(starmap(struct.Struct("<" + record).pack, rows))
        except struct.error:
            continue  # the integers are too large
        if len(rows) == 1:
            return ONE, record, data
        return MANY, record, _COUNT.pack(len(rows)) + data
    return None


def reader_of_one(record: str, begin: int) -> Reader:
    """What reads a single row, from the byte *begin* on."""
    unpack = _struct(record).unpack

    def read(data: bytes) -> list[Row]:
        return [unpack(data[begin:])]

    return read


def reader_of_many(record: str, begin: int) -> Reader:
    """What reads such rows, from the byte *begin* on."""
    unpack, start = _struct(record).iter_unpack, begin + _COUNT.size

    def read(data: bytes) -> list[Row]:
        rows = list(unpack(data[start:]))
        if (len(rows),) != _COUNT.unpack_from(data, begin):
            raise ValueError("too many rows, or too few")
        return rows

    return read


def _struct(record: str) -> struct.Struct:
    if not _FORMAT.fullmatch(record):
        raise ValueError("not the format of a record")
    return struct.Struct("<" + record)
