"""Rows of a database as bytes: an allow-list of plain types, stored by column.

By column, because a column usually holds one type, and then nothing is decided value by value:
numbers are unpacked in one go, texts are split in one go, and what is spelt as a text (dates,
decimals, UUIDs) is one ``map`` over the column. The rest is JSON. Decoding makes fresh objects,
and can run nothing.

Format: ``R1``; how wide the integers are (``i`` or ``q``), how many of them there are, and how
many floats; the integers; the floats; then, as UTF-8, a header in JSON and the texts, with a NUL
after each of them. The header holds the number of rows, the codes of the columns, and an item
for each column:

- code empty (what JSON knows), ``*`` (several types; each value has its own beside it), ``b``,
  ``m``, ``td`` (bytes, memoryviews, timedeltas): the values;
- ``i``, ``f``: the positions of the NULLs; the values are among the numbers;
- ``s``, ``dt``, ``d``, ``t``, ``n``, ``u`` (texts, datetimes, dates, times, decimals, UUIDs): the
  positions of the NULLs; the values are among the texts;
- ``=`` and a code: the value of every row. Never so for the first column: its length is what
  bounds the number of rows.

A single row is ``r1`` and, as JSON, the codes and the values.
"""

import importlib
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from django_layercache.exceptions import Undecodable, Unstorable

__all__ = ["RowsCodec"]

FORMAT = b"R1"
FORMAT_OF_ONE = b"r1"
Row = tuple[Any, ...]
Decoder = Callable[[Any], Any]

_NONE = type(None)
_JSON = frozenset({int, str, float, bool, _NONE})
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_scan = json.JSONDecoder().raw_decode
_new_uuid, _set, _UNKNOWN = UUID.__new__, object.__setattr__, SafeUUID.unknown
_PREFIX = struct.Struct("<2scII")
_WIDTHS = {b"i": 4, b"q": 8}
_DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    struct.error,
)


def _is_plain_time(value: Any) -> bool:
    return type(getattr(value, "tzinfo", None)) in (_NONE, timezone) and not value.fold


def _uuid(text: str) -> UUID:
    # The constructor spends most of its time on spellings that are never written here; this is
    # the rest of it.
    number = int(text, 16)
    if number >> 128:
        raise ValueError("not a UUID")
    value = _new_uuid(UUID)
    _set(value, "int", number)
    _set(value, "is_safe", _UNKNOWN)
    return value


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
#: What PostgreSQL's drivers return for its ranges; imported only where one is stored.
_RANGES = frozenset(
    {
        "psycopg.types.range.Range",
        "psycopg2._range.NumericRange",
        "psycopg2._range.DateRange",
        "psycopg2._range.DateTimeRange",
        "psycopg2._range.DateTimeTZRange",
    }
)
_DECODERS: dict[str, Decoder] = {
    "dt": datetime.fromisoformat,
    "d": date.fromisoformat,
    "t": time.fromisoformat,
    "td": lambda parts: timedelta(*parts),
    "n": Decimal,
    "u": _uuid,
    "b": lambda text: text.encode("latin-1"),
    "m": lambda text: memoryview(text.encode("latin-1")),
}
_PLAIN, _TAGGED, _INTEGER, _FLOAT, _TEXT, _SAME = "", "*", "i", "f", "s", "="
#: The codes of what is kept among the texts, and of what is decoded where it stands.
_SPELT = frozenset({_TEXT, "dt", "d", "t", "n", "u"})
_IN_HEADER = frozenset({_TAGGED, "td", "b", "m"})
_CODES = _SPELT | _IN_HEADER | {_PLAIN, _INTEGER, _FLOAT}


class RowsCodec:
    """A list of tuples, as a database driver returns them."""

    @staticmethod
    def dumps(rows: Sequence[Row]) -> bytes:
        try:
            return _written_row(rows[0]) if len(rows) == 1 else _written_rows(rows)
        except (ValueError, RecursionError) as error:
            raise Unstorable(f"rows that JSON cannot hold: {error}") from error

    @staticmethod
    def loads(data: bytes) -> list[Row]:
        form = data[:2]
        try:
            if form == FORMAT_OF_ONE:
                return _read_row(data)
            if form == FORMAT:
                return _read_rows(data)
        except _DAMAGE as error:
            raise Undecodable(f"damaged rows: {error!r}") from error
        raise Undecodable("not rows, or rows of another format")


# -- a single row: most of what is asked for -----------------------------------------------------


def _written_row(row: Row) -> bytes:
    spelt = [_spell(value) for value in row]
    header = [",".join([code for code, _ in spelt]), *[value for _, value in spelt]]
    return FORMAT_OF_ONE + _encode(header).encode("utf-8", "surrogatepass")


def _spell(value: Any) -> tuple[str, Any]:
    kind = type(value)
    if kind in _JSON:
        return _PLAIN, value
    code, encode, can = _ENCODERS.get(kind, (_TAGGED, None, None))
    if encode and can and can(value):
        return code, encode(value)
    return _TAGGED, _tag(value)


def _read_row(data: bytes) -> list[Row]:
    text = data.decode("utf-8", "surrogatepass")
    (codes, *values), end = _scan(text, len(FORMAT_OF_ONE))
    if end != len(text):
        raise ValueError("something follows")
    for index, decode in _decoders(codes):
        values[index] = decode(values[index])
    return [tuple(values)]


@lru_cache(maxsize=1024)
def _decoders(codes: str) -> tuple[tuple[int, Decoder], ...]:
    """Which columns have to be decoded, and how. A site has few kinds of queries, and asks them often."""
    columns = enumerate(codes.split(","))
    return tuple((index, _DECODERS[code]) for index, code in columns if code != _PLAIN)


# -- rows ---------------------------------------------------------------------------------------


def _written_rows(rows: Sequence[Row]) -> bytes:
    sorter = _Sorter(len(rows))
    for column in zip(*rows, strict=True):
        sorter.add(column)
    return sorter.data()


class _Sorter:
    """Puts each column where it is kept."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._codes: list[str] = []
        self._items: list[Any] = []
        self._integers: list[int] = []
        self._floats: list[float] = []
        self._texts: list[str] = []

    def add(self, column: Row) -> None:
        code, item = self._place(column)
        self._codes.append(code)
        self._items.append(item)

    def data(self) -> bytes:
        header = [self._rows, ",".join(self._codes), *self._items]
        text = _encode(header) + "\0".join([*self._texts, ""])
        return self._numbers() + text.encode("utf-8", "surrogatepass")

    def _numbers(self) -> bytes:
        integers, floats = self._integers, self._floats
        width = "i" if _fit(integers, 32) else "q"
        prefix = _PREFIX.pack(FORMAT, width.encode(), len(integers), len(floats))
        layout = f"<{len(integers)}{width}{len(floats)}d"
        return prefix + struct.pack(layout, *integers, *floats)

    def _place(self, column: Row) -> tuple[str, Any]:
        """The code of *column*, and its item in the header."""
        types = set(map(type, column))
        kinds = types - {_NONE}
        if not kinds and self._is_same(column):
            return _SAME, None
        if len(kinds) == 1:
            nulls, values = _without_nulls(column) if _NONE in types else ((), column)
            placed = self._place_values(kinds.pop(), values, nulls)
            if placed is not None:
                return placed
        if types <= _JSON:
            return _PLAIN, column
        return _TAGGED, [_tag(value) for value in column]

    def _place_values(
        self, kind: type, values: Sequence[Any], nulls: Sequence[int]
    ) -> tuple[str, Any] | None:
        """The same for values of one type; ``None`` if there is no better place than the header."""
        if kind is float:
            self._floats += values
            return _FLOAT, nulls
        if kind is str:
            return self._place_texts(_TEXT, values, nulls)
        if kind is int or kind is bool:
            return self._place_integers(kind, values, nulls)
        code, encode, can = _ENCODERS.get(kind, (_TAGGED, None, None))
        if not (encode and can and all(map(can, values))):
            return None
        encoded = list(map(encode, values))
        if code in _SPELT:
            return self._place_texts(code, encoded, nulls)
        return None if nulls else (code, encoded)

    def _place_integers(
        self, kind: type, values: Sequence[int], nulls: Sequence[int]
    ) -> tuple[str, Any] | None:
        if self._is_same(values):
            return _SAME, values[0]
        if kind is bool or not _fit(values, 64):
            return None
        self._integers += values
        return _INTEGER, nulls

    def _place_texts(
        self, code: str, values: Sequence[str], nulls: Sequence[int]
    ) -> tuple[str, Any] | None:
        if self._is_same(values):
            return _SAME + code, values[0]
        text = "\0".join(values)
        if text.count("\0") != len(values) - 1:
            return None
        self._texts.append(text)
        return code, nulls

    def _is_same(self, values: Sequence[Any]) -> bool:
        is_whole_column = len(values) == self._rows > 1
        return bool(self._codes) and is_whole_column and values.count(values[0]) == self._rows


def _without_nulls(column: Row) -> tuple[Sequence[int], Sequence[Any]]:
    nulls = [position for position, value in enumerate(column) if value is None]
    return nulls, [value for value in column if value is not None]


def _fit(numbers: Sequence[int], bits: int) -> bool:
    bound = 1 << bits - 1
    return not numbers or -bound <= min(numbers) and max(numbers) < bound


class _Places(NamedTuple):
    """Which columns are to be found where, each by its index."""

    numbers: tuple[int, ...]
    spelt: tuple[tuple[int, Decoder | None], ...]
    same: tuple[tuple[int, Decoder | None], ...]
    encoded: tuple[tuple[int, Decoder], ...]


@lru_cache(maxsize=1024)
def _places(codes: str) -> _Places:
    """What *codes* say."""
    columns = list(enumerate(codes.split(",")))
    if columns[0][1].startswith(_SAME):
        raise ValueError("nothing bounds the number of rows")
    if not _CODES.issuperset(code.removeprefix(_SAME) for _, code in columns):
        raise ValueError("an unknown code")
    return _Places(
        tuple(index for kind in (_INTEGER, _FLOAT) for index, code in columns if code == kind),
        tuple((index, _decoder(code)) for index, code in columns if code in _SPELT),
        tuple((index, _decoder(code[1:])) for index, code in columns if code.startswith(_SAME)),
        tuple((index, _DECODERS[code]) for index, code in columns if code in _IN_HEADER),
    )


def _decoder(code: str) -> Decoder | None:
    return None if code in {_PLAIN, _TEXT} else _DECODERS[code]


def _read_rows(data: bytes) -> list[Row]:
    _, width, integers, floats = _PREFIX.unpack_from(data)
    end = _PREFIX.size + integers * _WIDTHS[width] + floats * 8
    text = data[end:].decode("utf-8", "surrogatepass")
    (count, codes, *columns), begin = _scan(text, 0)
    places = _places(codes)
    numbers: Sequence[Any] = ()
    if integers or floats:
        layout = f"<{integers}{width.decode()}{floats}d"
        numbers = struct.unpack_from(layout, data, _PREFIX.size)
    end = _fill(columns, count, numbers, 0, places.numbers)
    texts = text[begin:].split("\0")
    if end != len(numbers) or _fill_spelt(columns, count, texts, places.spelt) != len(texts) - 1:
        raise ValueError("too much or too little of it")
    for index, decode in places.same:
        value = columns[index]
        columns[index] = repeat(value if decode is None else decode(value), count)
    for index, decode in places.encoded:
        columns[index] = list(map(decode, columns[index]))
    rows = list(zip(*columns, strict=True))
    if count != len(rows):
        raise ValueError("their number is not what it says")
    return rows


def _fill(
    columns: list[Any], count: int, numbers: Sequence[Any], begin: int, places: Iterable[int]
) -> int:
    """Put *numbers*, from *begin* on, into the *columns* of *places*; returns where it ended."""
    for index in places:
        nulls = columns[index]
        end = begin + count - len(nulls)
        values = numbers[begin:end]
        columns[index] = _with_nulls(values, nulls) if nulls else values
        begin = end
    return begin


def _fill_spelt(
    columns: list[Any],
    count: int,
    texts: list[str],
    places: Iterable[tuple[int, Decoder | None]],
) -> int:
    begin = 0
    for index, decode in places:
        nulls = columns[index]
        end = begin + count - len(nulls)
        values: Iterable[Any] = texts[begin:end]
        if decode is not None:
            values = map(decode, values)
        columns[index] = _with_nulls(values, nulls) if nulls else values
        begin = end
    return begin


def _with_nulls(values: Iterable[Any], nulls: list[int]) -> list[Any]:
    dense, column, begin = list(values), [], 0
    for before, position in enumerate(nulls):
        end = position - before  # in `dense`
        if end < begin:
            raise ValueError("the positions of the NULLs are not in order")
        column += dense[begin:end]
        column.append(None)
        begin = end
    return column + dense[begin:]


# -- values of several types --------------------------------------------------------------------


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
        # By the wall clock: not every time that a wall clock can show has one of UTC's.
        return ["z", [value.replace(tzinfo=None).isoformat(), value.tzinfo.key, value.fold]]
    code, encode, can = _ENCODERS.get(kind, (_TAGGED, None, None))
    if encode and can and can(value):
        return [code, encode(value)]
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name in _RANGES:
        bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
        return ["r", [name, _tag(value.lower), _tag(value.upper), bounds, value.isempty]]
    raise Unstorable(f"a value of the type {name}")


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
        wall_clock, key, fold = payload
        return datetime.fromisoformat(wall_clock).replace(tzinfo=ZoneInfo(key), fold=fold)
    return _DECODERS[code](payload)


def _range(name: str, lower: Any, upper: Any, bounds: str, is_empty: bool) -> Any:
    if name not in _RANGES:
        raise ValueError("not a range")
    module, _, kind = name.rpartition(".")
    make = getattr(importlib.import_module(module), kind)
    return make(_untag(lower), _untag(upper), bounds, is_empty)


_DECODERS[_TAGGED] = _untag
_DECODERS["r"] = lambda parts: _range(*parts)
