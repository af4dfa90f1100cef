"""Rows of a database as bytes: an allow-list of plain types, stored by column, as JSON.

By column, because a column usually holds one type: what JSON knows needs no work at all, and
the rest is one ``map`` over the column in C. Decoding makes fresh objects and can run
nothing. Format: ``R1`` and ``[number of rows, [code of each column], [each column]]``.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django_layercache.exceptions import Undecodable, Unstorable

__all__ = ["RowsCodec"]

FORMAT = b"R1"
Row = tuple[Any, ...]

_NONE = type(None)
_JSON = frozenset({int, str, float, bool, _NONE})
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _is_plain_time(value: Any) -> bool:
    return type(getattr(value, "tzinfo", None)) in (_NONE, timezone) and not value.fold


#: type -> (code, encoder, whether a value can be written with it)
_ENCODERS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], bool]]] = {
    datetime: ("dt", datetime.isoformat, _is_plain_time),
    date: ("d", date.isoformat, lambda value: True),
    time: ("t", time.isoformat, _is_plain_time),
    timedelta: ("td", lambda v: [v.days, v.seconds, v.microseconds], lambda value: True),
    Decimal: ("n", str, lambda value: True),
    UUID: ("u", lambda value: value.hex, lambda value: True),
    bytes: ("b", lambda value: value.decode("latin-1"), lambda value: True),
    memoryview: ("m", lambda value: bytes(value).decode("latin-1"), lambda value: True),
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "dt": datetime.fromisoformat,
    "d": date.fromisoformat,
    "t": time.fromisoformat,
    "td": lambda parts: timedelta(*parts),
    "n": Decimal,
    "u": UUID,
    "b": lambda text: text.encode("latin-1"),
    "m": lambda text: memoryview(text.encode("latin-1")),
}
_PLAIN, _TAGGED = "", "*"


class RowsCodec:
    """A list of tuples, as a database driver returns them."""

    @staticmethod
    def dumps(rows: Sequence[Row]) -> bytes:
        columns = [_encode_column(column) for column in zip(*rows, strict=True)]
        value = [len(rows), [code for code, _ in columns], [column for _, column in columns]]
        try:
            return FORMAT + _encode(value).encode()
        except (ValueError, RecursionError) as error:
            raise Unstorable(f"rows that JSON cannot hold: {error}") from error

    @staticmethod
    def loads(data: bytes) -> list[Row]:
        if not data.startswith(FORMAT):
            raise Undecodable("not rows, or rows of another format")
        try:
            count, codes, columns = json.loads(data[len(FORMAT) :])
            decoded = [_decode_column(*pair) for pair in zip(codes, columns, strict=True)]
            rows = list(zip(*decoded, strict=True))
        except (
            ValueError,
            TypeError,
            LookupError,
            ArithmeticError,
            AttributeError,
            RecursionError,
        ) as e:
            raise Undecodable(f"damaged rows: {e}") from e
        if count != len(rows):
            raise Undecodable("damaged rows: their number is not what it says")
        return rows


def _encode_column(column: Row) -> tuple[str, Sequence[Any]]:
    types = set(map(type, column))
    if types <= _JSON:
        return _PLAIN, column
    nullable = _NONE in types
    types.discard(_NONE)
    if len(types) == 1:
        code, encode, can = _ENCODERS.get(types.pop(), (_TAGGED, None, None))
        if encode and can and all(value is None or can(value) for value in column):
            if nullable:
                return f"{code}?", [None if value is None else encode(value) for value in column]
            return code, list(map(encode, column))
    return _TAGGED, [_tag(value) for value in column]


def _decode_column(code: str, column: list[Any]) -> list[Any]:
    if type(column) is not list:
        raise TypeError("a column is a list")
    if code == _PLAIN:
        return column
    if code == _TAGGED:
        return [_untag(value) for value in column]
    decode = _DECODERS[code.removesuffix("?")]
    if code.endswith("?"):
        return [None if value is None else decode(value) for value in column]
    return list(map(decode, column))


def _tag(value: Any) -> Any:
    """*value*, with its type beside it where JSON does not know it; for columns of several types."""
    kind = type(value)
    if kind in _JSON:
        return value
    if kind is list or kind is tuple:
        return ["l" if kind is list else "tuple", [_tag(item) for item in value]]
    if kind is dict and all(type(key) is str for key in value):
        return ["o", {key: _tag(item) for key, item in value.items()}]
    if kind is datetime and type(value.tzinfo) is ZoneInfo and value.tzinfo.key:
        return ["z", [value.astimezone(UTC).isoformat(), value.tzinfo.key]]
    code, encode, can = _ENCODERS.get(kind, (_TAGGED, None, None))
    if encode and can and can(value):
        return [code, encode(value)]
    raise Unstorable(f"a value of the type {kind.__module__}.{kind.__qualname__}")


def _untag(value: Any) -> Any:
    if type(value) is not list:
        return value
    code, payload = value
    if code == "l":
        return [_untag(item) for item in payload]
    if code == "tuple":
        return tuple(_untag(item) for item in payload)
    if code == "o":
        return {key: _untag(item) for key, item in payload.items()}
    if code == "z":
        return datetime.fromisoformat(payload[0]).astimezone(ZoneInfo(payload[1]))
    return _DECODERS[code](payload)
