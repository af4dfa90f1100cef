"""The values that a database driver returns, as JSON knows them: an allow-list of plain types.

A type that is not on the list, a subclass of one that is, or a value that would come back as
anything but itself is refused.
"""

import importlib
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from django_layercache.exceptions import Unstorable

__all__ = ["DECODERS", "NONE", "PLAIN", "TAGGED", "Decoder", "is_plain", "spelt", "tagged"]

Decoder = Callable[[Any], Any]

NONE = type(None)
#: The code of what is JSON already, and of what has its own code beside it.
PLAIN, TAGGED = "", "*"

_JSON = frozenset({int, str, float, bool, NONE})
_new_uuid, _set, _UNKNOWN = UUID.__new__, object.__setattr__, SafeUUID.unknown
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


def is_plain(value: Any) -> bool:
    """Whether JSON gives *value* back as it was."""
    kind = type(value)
    if kind is list:
        return all(map(is_plain, value))
    if kind is dict:
        return {str}.issuperset(map(type, value)) and all(map(is_plain, value.values()))
    return kind in _JSON


def spelt(value: Any) -> tuple[str, Any]:
    """The code of *value*, and what JSON knows of it; raises :exc:`Unstorable`."""
    if type(value) in _JSON or is_plain(value):
        return PLAIN, value
    code, encode, can = _ENCODERS.get(type(value), _REFUSED)
    return (code, encode(value)) if can(value) else (TAGGED, tagged(value))


def tagged(value: Any) -> Any:
    """*value* for a column of several types: with its code beside it where JSON does not know it."""
    kind = type(value)
    if kind in _JSON:
        return value
    if kind is list or kind is tuple:
        return ["l" if kind is list else "tuple", [tagged(item) for item in value]]
    if kind is dict and {str}.issuperset(map(type, value)):
        return ["o", {key: tagged(item) for key, item in value.items()}]
    if kind is datetime and type(value.tzinfo) is ZoneInfo and value.tzinfo.key:
        # By the wall clock: not every time that a wall clock can show has one of UTC's.
        return ["z", [value.replace(tzinfo=None).isoformat(), value.tzinfo.key, value.fold]]
    code, encode, can = _ENCODERS.get(kind, _REFUSED)
    if can(value):
        return [code, encode(value)]
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name in _RANGES:
        bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
        return ["r", [name, tagged(value.lower), tagged(value.upper), bounds, value.isempty]]
    raise Unstorable(f"a value of the type {name}")


def _untagged(value: Any) -> Any:
    if type(value) is not list:
        return value
    code, payload = value
    return DECODERS[code](payload)


def _is_plain_time(value: Any) -> bool:
    return type(value.tzinfo) in {NONE, timezone} and not value.fold


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


def _zoned(parts: Any) -> datetime:
    wall_clock, key, fold = parts
    return datetime.fromisoformat(wall_clock).replace(tzinfo=ZoneInfo(key), fold=fold)


def _range(parts: Any) -> Any:
    name, lower, upper, bounds, is_empty = parts
    if name not in _RANGES:
        raise ValueError("not a range")
    module, _, kind = name.rpartition(".")
    make = getattr(importlib.import_module(module), kind)
    return make(_untagged(lower), _untagged(upper), bounds, is_empty)


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
_REFUSED: tuple[str, Callable[[Any], Any], Callable[[Any], bool]] = (
    TAGGED,
    lambda value: value,
    lambda value: False,
)
DECODERS: dict[str, Decoder] = {
    TAGGED: _untagged,
    "dt": datetime.fromisoformat,
    "d": date.fromisoformat,
    "t": time.fromisoformat,
    "td": lambda parts: timedelta(*parts),
    "n": Decimal,
    "u": _uuid,
    "b": lambda text: text.encode("latin-1"),
    "m": lambda text: memoryview(text.encode("latin-1")),
    "l": lambda items: [_untagged(item) for item in items],
    "tuple": lambda items: tuple([_untagged(item) for item in items]),
    "o": lambda items: {key: _untagged(item) for key, item in items.items()},
    "z": _zoned,
    "r": _range,
}
