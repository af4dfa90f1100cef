"""Rows of a database as bytes, decoded without any ability to run code.

Only plain types are known (:mod:`~django_layercache.serializers.values`), and decoding makes
fresh objects. Rows begin with a head: two bytes for their form, the size of the head by eight,
and what is in the columns, padded with blanks. What reads the rows after such a head is made
once, and remembered: a site has few kinds of queries, and asks them often.

No row is ``E3``, with nothing in the columns. Rows of numbers are
:mod:`~django_layercache.serializers.records`, a few others are JSON
(:mod:`~django_layercache.serializers.few`), and the rest is read by
:mod:`~django_layercache.serializers.columns`.
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.serializers import columns, few, records
from django_layercache.serializers.forms import Reader, Row, Written

__all__ = ["RowsCodec"]

EMPTY = b"E3"
_UNIT, _MOST_UNITS = 8, 255
#: Heads. What is remembered is bounded, whoever writes the bytes.
_MOST_REMEMBERED = 512
_DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    StopIteration,
    struct.error,
)


class RowsCodec:
    """A list of tuples, as a database driver returns them."""

    @staticmethod
    def dumps(rows: Sequence[Row]) -> bytes:
        try:
            form, contents, body = _written(rows)
        except (ValueError, RecursionError) as error:
            raise Unstorable(f"rows that JSON cannot hold: {error}") from error
        return _head(form, contents) + body

    @staticmethod
    def loads(data: bytes) -> list[Row]:
        try:
            return _readers[data[: _UNIT * data[2]]](data)
        except _DAMAGE as error:
            raise Undecodable(f"not rows, or damaged: {error!r}") from error


def _written(rows: Sequence[Row]) -> Written:
    if not rows:
        return EMPTY, "", b""
    if not rows[0]:
        raise ValueError("rows without columns")
    record = records.written(rows)
    if record is not None:
        return record
    return few.written(rows) if len(rows) <= few.MOST else columns.written(rows)


@lru_cache(maxsize=_MOST_REMEMBERED)
def _head(form: bytes, contents: str) -> bytes:
    units = -(-(len(form) + 1 + len(contents)) // _UNIT)
    if units > _MOST_UNITS:
        raise Unstorable("rows of too many columns")
    return (form + bytes([units]) + contents.encode()).ljust(_UNIT * units)


class _Readers(dict[bytes, Reader]):
    """What reads the rows, by their head."""

    def __missing__(self, head: bytes) -> Reader:
        if len(head) != _UNIT * head[2]:
            raise ValueError("it was cut off")
        reader = _FORMS[head[:2]](head[3:].decode().rstrip(" "), len(head))
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        self[head] = reader
        return reader


def _reader_of_nothing(contents: str, begin: int) -> Reader:
    def read(data: bytes) -> list[Row]:
        if contents or len(data) > begin:
            raise ValueError("something follows")
        return []

    return read


_FORMS: dict[bytes, Callable[[str, int], Reader]] = {
    EMPTY: _reader_of_nothing,
    records.ONE: records.reader_of_one,
    records.MANY: records.reader_of_many,
    few.FEW: few.reader_of_few,
    columns.POOLS: columns.reader_of_pools,
}
_readers = _Readers()
