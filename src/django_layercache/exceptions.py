"""Every error that django-layercache raises, under one base class."""

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import DatabaseError

__all__ = [
    "InvalidArgument",
    "InvalidSetting",
    "LayerCacheError",
    "StoreUnavailable",
    "Undecodable",
    "UnkeyableArgument",
    "Unstorable",
    "WriteRefused",
]


class LayerCacheError(Exception):
    """The base of all errors of this library."""


class InvalidSetting(LayerCacheError, ImproperlyConfigured):
    """A value in ``settings.LAYERCACHE`` cannot be used. ``manage.py check`` says which and why."""


class InvalidArgument(LayerCacheError, ValueError):
    """A decorator, a tag or a method got an argument that makes no sense, such as a negative timeout."""


class UnkeyableArgument(LayerCacheError, TypeError):
    """An argument of a cached function cannot be part of a key. Pass ``key=`` to the decorator."""


class StoreUnavailable(LayerCacheError):
    """The store did not answer in time. Reads bypass it; writes follow ``ON_OUTAGE``."""


class Unstorable(LayerCacheError):
    """A value cannot be encoded, or is larger than ``MAX_ENTRY_BYTES``. It is returned, and not stored."""


class Undecodable(LayerCacheError):
    """Bytes from a store are not what this version wrote. They count as a miss."""


class WriteRefused(LayerCacheError, DatabaseError):
    """The store is away and ``ON_OUTAGE`` is ``"refuse"``: the transaction was not committed."""
