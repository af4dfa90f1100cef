"""Rows of a database as bytes, decoded without any ability to run code.

Only plain types are known (:mod:`~django_layercache.serializers.values`), and decoding makes
fresh objects. No row is ``R0``; a single one is ``r1`` and, as JSON, the codes and the values; of
more, the values of one type are kept together (:mod:`~django_layercache.serializers.columns`).
"""

import json
import struct
from collections.abc import Sequence
from functools import lru_cache

from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.serializers import columns
from django_layercache.serializers.columns import Row
from django_layercache.serializers.values import DECODERS, PLAIN, Decoder, spelt

__all__ = ["RowsCodec"]

NOTHING = b"R0"
FORMAT_OF_ONE = b"r1"

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_scan = json.JSONDecoder().raw_decode
_DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    struct.error,
)


class RowsCodec:
    """A list of tuples, as a database driver returns them."""

    @staticmethod
    def dumps(rows: Sequence[Row]) -> bytes:
        try:
            if len(rows) == 1:
                return _dump_row(rows[0])
            return columns.dump_rows(rows) if rows else NOTHING
        except (ValueError, RecursionError) as error:
            raise Unstorable(f"rows that JSON cannot hold: {error}") from error

    @staticmethod
    def loads(data: bytes) -> list[Row]:
        form = data[:2]
        try:
            if form == FORMAT_OF_ONE:
                return _load_row(data)
            if form == columns.FORMAT:
                return columns.load_rows(data)
        except _DAMAGE as error:
            raise Undecodable(f"damaged rows: {error!r}") from error
        if data == NOTHING:
            return []
        raise Undecodable("not rows, or rows of another format")


def _dump_row(row: Row) -> bytes:
    values = [spelt(value) for value in row]
    header = [",".join([code for code, _ in values]), *[value for _, value in values]]
    return FORMAT_OF_ONE + _encode(header).encode("utf-8", "surrogatepass")


def _load_row(data: bytes) -> list[Row]:
    text = data.decode("utf-8", "surrogatepass")
    (codes, *values), end = _scan(text, len(FORMAT_OF_ONE))
    if end != len(text):
        raise ValueError("something follows")
    decoders = _decoders if len(codes) <= columns.MOST_REMEMBERED else _decoders.__wrapped__
    for index, decode in decoders(codes):
        values[index] = decode(values[index])
    return [tuple(values)]


@lru_cache(maxsize=1024)
def _decoders(codes: str) -> tuple[tuple[int, Decoder], ...]:
    """Which columns have to be decoded, and how. A site has few kinds of queries, and asks them often."""
    kinds = enumerate(codes.split(","))
    return tuple((index, DECODERS[code]) for index, code in kinds if code != PLAIN)
