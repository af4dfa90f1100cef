"""Which decoded values may be handed to several callers, and how many bytes of memory they take.

Only what nobody can change: an allow-list of exact types, since a subclass may have attributes.
``None`` in place of a size says that it may not be shared. (A ``memoryview`` can be released.)
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from sys import getsizeof
from typing import Any
from uuid import UUID

from django_layercache.serializers.pages import Page

__all__ = ["size_of_page", "size_of_plain", "size_of_rows"]

_IMMUTABLE = frozenset(
    {type(None), bool, int, float, str, bytes, Decimal, UUID, datetime, date, time, timedelta}
)
#: What ``getsizeof`` does not see of a UUID: the integer in it.
_INSIDE_UUID = 48


def size_of_rows(rows: Sequence[tuple[Any, ...]]) -> int | None:
    """Of a list of tuples. The list is not to be handed out, only copies of it."""
    kinds = set(map(type, chain.from_iterable(rows)))
    if not kinds <= _IMMUTABLE:
        return None
    size = getsizeof(rows) + sum(map(getsizeof, rows)) + _sum(chain.from_iterable(rows))
    return size + _INSIDE_UUID * len(rows) if UUID in kinds else size


def size_of_plain(value: Any) -> int | None:
    """Of a number, a text, a date and the like, or of tuples of them."""
    if type(value) is tuple:
        try:
            sizes = [size_of_plain(item) for item in value]
        except RecursionError:
            return None
        return None if None in sizes else getsizeof(value) + sum(filter(None, sizes))
    return getsizeof(value) if type(value) in _IMMUTABLE else None


def size_of_page(page: Page) -> int:
    """Of a page. Its headers are not to be handed out."""
    texts = chain(*page.headers, page.varies, page.varies.values(), (page.reason, page.charset))
    parts = (page, page.headers, page.varies, *page.headers)
    return getsizeof(page.body) + _sum(parts) + _sum(texts)


def _sum(values: Iterable[Any]) -> int:
    return sum(map(getsizeof, values))
