"""Python objects as bytes: a pickle, signed.

Unpickling runs what the bytes say, so it must never see bytes that this project did not write.
The signature is a keyed BLAKE2b over the entry's key and the pickle: a value that was copied
to another key does not verify there. It is checked, in constant time, before anything else is
done. Format: ``P1``, the signature, the pickle.
"""

import hashlib
import hmac
import pickle
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.encoding import force_bytes

from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.serializers.reports import report_undecodable

__all__ = ["SignedCodec"]

FORMAT = b"P1"
_SALT = b"layercache-value"  # at most 16 bytes: BLAKE2b's "person"
_SIZE = 20
_START = len(FORMAT) + _SIZE
#: Fixed, so that two versions of Python that run side by side understand each other.
_PICKLE_PROTOCOL = 5


class SignedCodec:
    """The codec of the one value under *key*."""

    __slots__ = ("_kept", "_key")

    def __init__(self, key: str) -> None:
        self._key = key.encode(errors="surrogatepass")
        self._kept: bytes | Unstorable | None = None

    def keep(self, value: Any) -> None:
        """Encode *value* now, for the :meth:`dumps` that follows.

        Pickling may read from the database: a queryset that was not evaluated is evaluated by
        it. Who builds a value calls this inside the scope, so that the value depends on that.
        """
        try:
            self._kept = self._encode(value)
        except Unstorable as error:
            self._kept = error

    def dumps(self, value: Any) -> bytes:
        kept, self._kept = self._kept, None
        if isinstance(kept, Unstorable):
            raise kept
        return self._encode(value) if kept is None else kept

    def loads(self, data: bytes) -> Any:
        signature, pickled = data[len(FORMAT) : _START], data[_START:]
        if not data.startswith(FORMAT) or not self._verifies(signature, pickled):
            report_undecodable("object", "its signature is not this project's")
            raise Undecodable("the signature does not verify")
        try:
            return pickle.loads(pickled)  # noqa: S301 - verified
        except Exception as error:
            # What was signed, and yet cannot be read: a class moved in a deploy.
            report_undecodable("object", f"{type(error).__name__}: {error}")
            raise Undecodable(f"cannot be unpickled: {type(error).__name__}") from error

    def _encode(self, value: Any) -> bytes:
        try:
            pickled = pickle.dumps(value, _PICKLE_PROTOCOL)
        except Exception as error:
            raise Unstorable(f"cannot be pickled: {type(value).__qualname__}: {error}") from error
        return FORMAT + self._sign(_derived(settings.SECRET_KEY), pickled) + pickled

    def _sign(self, secret: bytes, pickled: bytes) -> bytes:
        signature = hashlib.blake2b(b"%d:" % len(self._key), key=secret, digest_size=_SIZE)
        signature.update(self._key)
        signature.update(pickled)
        return signature.digest()

    def _verifies(self, signature: bytes, pickled: bytes) -> bool:
        return any(
            hmac.compare_digest(signature, self._sign(secret, pickled)) for secret in _secrets()
        )


def _secrets() -> Iterator[bytes]:
    """What signs, then what used to."""
    yield _derived(settings.SECRET_KEY)
    for secret in settings.SECRET_KEY_FALLBACKS:
        yield _derived(secret)


@lru_cache(maxsize=16)
def _derived(secret: str | bytes) -> bytes:
    return hashlib.blake2b(force_bytes(secret), digest_size=32, person=_SALT).digest()
