"""What the forms in which rows are stored have in common."""

import json
from collections.abc import Callable
from typing import Any

__all__ = ["Bytes", "Reader", "Row", "Written", "encode_json", "scan_json"]

Bytes = bytes | memoryview
Row = tuple[Any, ...]
#: The form, what there is in the columns, and the bytes.
Written = tuple[bytes, str, bytes]
#: Any exception of its means that the bytes are none of such rows.
Reader = Callable[[bytes], list[Row]]

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_decoder: Any = json.JSONDecoder()
#: What is at a place of a text, and where it ends; raises `StopIteration` where nothing is.
_scan = _decoder.scan_once


def encode_json(value: Any) -> bytes:
    """*value* in JSON; raises `ValueError`."""
    return _encode(value).encode()


def scan_json(data: Bytes) -> Any:
    """What :func:`encode_json` wrote."""
    text = str(data, "utf-8")
    value, end = _scan(text, 0)
    if end != len(text):
        raise ValueError("something follows")
    return value
