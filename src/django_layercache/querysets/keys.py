"""The key of a query's result: its text, its parameters, and what else makes an answer another one."""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django_layercache.querysets.connections import ConnectionState

__all__ = ["key_of"]

_PLAIN = frozenset(
    {int, str, float, bool, bytes, type(None), date, datetime, time, timedelta, Decimal, UUID}
)


def key_of(
    state: ConnectionState, table: str, sql: str, params: Sequence[Any]
) -> tuple[str, str | None]:
    """The key of the statement *sql* with *params*, or why it has none."""
    try:
        spelt = repr([_spelt(param) for param in params])
    except TypeError as error:
        return "", str(error)
    digest = hashlib.blake2b(
        f"{len(sql)}:{sql}{spelt}{state.session}".encode("utf-8", "surrogatepass"), digest_size=16
    )
    return f"q:{state.database}:{table}:{digest.hexdigest()}", None


def _spelt(param: Any) -> Any:
    """*param*, or something whose ``repr`` differs wherever the database could tell it apart."""
    kind = type(param)
    if kind in _PLAIN:
        return param
    if kind in {list, tuple}:
        return (kind.__name__, [_spelt(item) for item in param])
    return _spelt_object(param, kind)


def _spelt_object(param: Any, kind: type) -> tuple[str, Any]:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(param, str):
        return (name, str.__str__(param))
    if isinstance(param, int):
        return (name, int.__int__(param))
    if kind is memoryview or name == "psycopg.dbapi20.Binary":
        return (name, bytes(param if kind is memoryview else param.obj))
    if kind is dict or name.startswith("psycopg.types.json.Json"):
        return (name, _spelt_json(param if kind is dict else param.obj))
    if name.startswith(("ipaddress.", "psycopg.types.range.", "psycopg2._range.")):
        return (name, repr(param))
    raise TypeError(f"a parameter of the type {name} cannot be part of a key")


def _spelt_json(value: Any) -> Any:
    if isinstance(value, dict):
        return ("dict", [(_spelt(key), _spelt_json(item)) for key, item in value.items()])
    if isinstance(value, (list, tuple)):
        return ("list", [_spelt_json(item) for item in value])
    return _spelt(value)
