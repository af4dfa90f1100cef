"""A few rows as JSON: to make pools of their values takes longer than to read them one by one.

They are ``r3``, with the codes of the columns, and a list of lists.
"""

from collections.abc import Sequence
from typing import Any

from django_layercache.serializers.forms import Reader, Row, Written, encode_json, scan_json
from django_layercache.serializers.values import DECODERS, PLAIN, TAGGED, spelt, tagged

__all__ = ["FEW", "MOST", "reader_of_few", "written"]

FEW = b"r3"
#: Rows. More than these are read faster by their columns.
MOST = 5


def written(rows: Sequence[Row]) -> Written:
    """*rows*; raises :exc:`~django_layercache.exceptions.Unstorable` or `ValueError`."""
    if len(rows) == 1:
        codes, values = zip(*map(spelt, rows[0]), strict=True)
        return FEW, ",".join(codes), encode_json([values])
    codes, columns = zip(*map(_spelt, zip(*rows, strict=True)), strict=True)
    return FEW, ",".join(codes), encode_json(list(zip(*columns, strict=True)))


def _spelt(column: Row) -> tuple[str, Sequence[Any]]:
    """The code of all values but NULL, and what JSON knows of them."""
    pairs = list(map(spelt, column))
    codes = {code for (code, _), value in zip(pairs, column, strict=True) if value is not None}
    if len(codes) > 1:
        return TAGGED, [tagged(value) for value in column]
    return codes.pop() if codes else PLAIN, [value for _, value in pairs]


def reader_of_few(codes: str, begin: int) -> Reader:
    """What reads such rows, from the byte *begin* on."""
    kinds = enumerate(codes.split(","))
    decoders = [(index, DECODERS[code]) for index, code in kinds if code != PLAIN]

    def read(data: bytes) -> list[Row]:
        rows = scan_json(data[begin:])
        for index, decode in decoders:
            for row in rows:
                if row[index] is not None:
                    row[index] = decode(row[index])
        return [tuple(row) for row in rows]

    return read
