"""Payloads made smaller: Zstandard where there is one, else zlib.

A compressed payload is ``Z1`` (zlib) or ``Z2`` (Zstandard), the size of what is in it in four bytes,
little-endian, and the compressed bytes. No other payload begins like that. What is in it is
bounded before it is unpacked: a few bytes can be made to stand for gigabytes.
"""

import importlib
import struct
import zlib
from typing import Any

from django_layercache.exceptions import Undecodable
from django_layercache.serializers.reports import report_undecodable

__all__ = ["HAS_ZSTD", "compressed", "decompressed"]


def _find_zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):  # the first is there since Python 3.14
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    return None


_zstd: Any = _find_zstd()
HAS_ZSTD = _zstd is not None
_ERRORS = (zlib.error, _zstd.ZstdError) if HAS_ZSTD else (zlib.error,)
ZLIB, ZSTD = b"Z1", b"Z2"
_HEAD = struct.Struct("<2sI")
#: Fast rather than small: it happens while somebody waits.
_ZLIB_LEVEL, _ZSTD_LEVEL = 1, 3
#: What Zstandard may keep of what it has unpacked, as a power of two: no less than its levels use.
_WINDOW = 23


def compressed(payload: bytes) -> bytes:
    """*payload*, or fewer bytes that stand for it."""
    if _zstd is not None:
        form, body = ZSTD, _zstd.compress(payload, _ZSTD_LEVEL)
    else:
        form, body = ZLIB, zlib.compress(payload, _ZLIB_LEVEL)
    small: bytes = _HEAD.pack(form, len(payload)) + body
    return small if len(small) < len(payload) else payload


def decompressed(payload: bytes, max_bytes: int) -> bytes:
    """What *payload* stands for; itself if it is not a compressed one.

    Raises :exc:`~django_layercache.exceptions.Undecodable` if it is damaged, if it would be more than
    *max_bytes*, and if nothing here can unpack it.
    """
    if not payload.startswith((ZLIB, ZSTD)):
        return payload
    try:
        return _unpacked(payload, max_bytes)
    except Undecodable as error:
        report_undecodable("payload", str(error))
        raise


def _unpacked(payload: bytes, max_bytes: int) -> bytes:
    if len(payload) < _HEAD.size:
        raise Undecodable("a compressed payload that was cut off")
    form, size = _HEAD.unpack_from(payload)
    if size > max_bytes:
        raise Undecodable("a compressed payload of more than MAX_ENTRY_BYTES")
    unpacker = zlib.decompressobj() if form == ZLIB else _unzstd(size)
    try:
        # One byte more than there should be shows that there is more.
        data: bytes = unpacker.decompress(memoryview(payload)[_HEAD.size :], size + 1)
    except _ERRORS as error:
        raise Undecodable("a compressed payload that is damaged") from error
    if len(data) != size or not unpacker.eof:
        raise Undecodable("a compressed payload that is damaged")
    return data


def _unzstd(size: int) -> Any:
    if _zstd is None:
        raise Undecodable("compressed with Zstandard, which is not installed")
    window = {_zstd.DecompressionParameter.window_log_max: max(_WINDOW, size.bit_length())}
    return _zstd.ZstdDecompressor(options=window)
