"""Values as payloads of entries: encoded, of a limited size, and compressed if they are large."""

from typing import Any

from django_layercache.engine.recipes import Codec
from django_layercache.exceptions import Unstorable
from django_layercache.serializers.compression import compressed, decompressed

__all__ = ["Payloads"]


class Payloads:
    """*max_bytes* limits what a codec makes; from *compress_from* bytes on it is compressed, if not ``None``."""

    __slots__ = ("_compress_from", "_max_bytes")

    def __init__(self, max_bytes: int = 1024 * 1024, compress_from: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._compress_from = compress_from

    def encode(self, codec: Codec, value: Any) -> bytes:
        """Raises :exc:`~django_layercache.exceptions.Unstorable`."""
        payload = codec.dumps(value)
        if len(payload) > self._max_bytes:
            raise Unstorable(f"{len(payload)} bytes are more than MAX_ENTRY_BYTES")
        if self._compress_from is not None and len(payload) >= self._compress_from:
            return compressed(payload)
        return payload

    def decode(self, codec: Codec, payload: bytes) -> Any:
        """Raises :exc:`~django_layercache.exceptions.Undecodable`."""
        return codec.loads(decompressed(payload, self._max_bytes))
