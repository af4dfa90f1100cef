"""The size limits of a model's policy, around the codec of rows."""

from collections.abc import Sequence
from typing import Any

from django_layercache.engine import Codec
from django_layercache.exceptions import Unstorable
from django_layercache.querysets.policies import Policy
from django_layercache.serializers.rows import RowsCodec

__all__ = ["codec_for"]


def codec_for(policy: Policy) -> Codec:
    """The codec of rows, which refuses to write more than *policy* allows."""
    if policy.max_rows is None and policy.max_bytes is None:
        return RowsCodec
    return _Limited(policy)


class _Limited:
    __slots__ = ("_policy",)

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def dumps(self, rows: Sequence[Any]) -> bytes:
        """Count before encoding: what is too much is not worth the work."""
        most = self._policy.max_rows
        if most is not None and len(rows) > most:
            raise Unstorable(f"{len(rows)} rows are more than max_rows")
        data = RowsCodec.dumps(rows)
        most = self._policy.max_bytes
        if most is not None and len(data) > most:
            raise Unstorable(f"{len(data)} bytes are more than max_bytes")
        return data

    def loads(self, data: bytes) -> Any:
        return RowsCodec.loads(data)
