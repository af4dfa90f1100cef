"""Which decoded values may be handed to several callers, and how many bytes of memory they take.

Only what nobody can change: an allow-list of exact types, since a subclass may have attributes.
``None`` in place of a size says that it may not be shared. (A ``memoryview`` can be released.)
"""

from collections.abc import Iterable, Iterator, Sequence
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
#: Objects of which the interpreter has one each, whoever uses them.
_SINGLE = frozenset(map(id, (None, True, False, "", b"", *range(-5, 257), *map(chr, range(256)))))


def size_of_rows(rows: Sequence[tuple[Any, ...]]) -> int | None:
    """Of a list of tuples. The list is not to be handed out, only copies of it."""
    if not set(map(type, chain.from_iterable(rows))) <= _IMMUTABLE:
        return None
    return getsizeof(rows) + _sum(chain(rows, chain.from_iterable(rows)))


def size_of_plain(value: Any) -> int | None:
    """Of a number, a text, a date and the like, or of tuples of them."""
    try:
        return _sum(_parts(value))
    except (TypeError, RecursionError):
        return None


def size_of_page(page: Page) -> int:
    """Of a page. Its headers are not to be handed out."""
    texts = chain(*page.headers, page.varies, page.varies.values(), (page.reason, page.charset))
    return _sum(chain((page, page.body, page.headers, page.varies), page.headers, texts))


def _parts(value: Any) -> Iterator[Any]:
    """*value*, and what is in it."""
    if type(value) is tuple:
        for item in value:
            yield from _parts(item)
    elif type(value) not in _IMMUTABLE:
        raise TypeError
    yield value


def _sum(values: Iterable[Any]) -> int:
    """What they take, each object once."""
    objects = {id(value): value for value in values}
    own = [value for key, value in objects.items() if key not in _SINGLE]
    return sum(map(getsizeof, own)) + _INSIDE_UUID * sum(type(value) is UUID for value in own)
