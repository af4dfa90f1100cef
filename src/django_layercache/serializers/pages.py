"""Responses as bytes, decoded without any ability to run code.

``G1``, the length of the head in eight hexadecimal digits, the head (a JSON array), the body.
"""

import codecs
import json
from dataclasses import dataclass, field

from django_layercache.exceptions import Undecodable
from django_layercache.serializers.reports import report_undecodable

__all__ = ["Page", "dump_page", "load_page"]

FORMAT = b"G1"
_PREFIX = len(FORMAT) + 8


@dataclass(frozen=True, slots=True)
class Page:
    """A response as it is stored.

    ``varies`` maps each request header that it was selected by to a digest of its value;
    ``expires`` is the time (in seconds since the epoch) until which it is kept, if any.
    """

    status: int
    reason: str
    charset: str
    headers: list[tuple[str, str]]
    body: bytes
    varies: dict[str, str] = field(default_factory=dict)
    expires: int | None = None


def dump_page(page: Page) -> bytes:
    """The bytes of *page*."""
    parts = (page.status, page.reason, page.charset, page.headers, page.varies, page.expires)
    head = json.dumps(parts, separators=(",", ":")).encode()
    return b"%b%08x%b%b" % (FORMAT, len(head), head, page.body)


def load_page(data: bytes) -> Page:
    """The page in *data*; :exc:`Undecodable` for anything that :func:`dump_page` did not make."""
    try:
        return _load(data)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        report_undecodable("page", str(error))
        raise Undecodable("not a page") from error


def _load(data: bytes) -> Page:
    if not data.startswith(FORMAT):
        raise ValueError("another format")
    end = _PREFIX + int(data[len(FORMAT) : _PREFIX], 16)
    status, reason, charset, headers, varies, expires = json.loads(data[_PREFIX:end].decode())
    if type(status) is not int or not 100 <= status <= 599:
        raise ValueError("not a status")
    codecs.lookup(charset)
    pairs = [(name, value) for name, value in headers]
    texts = [reason, charset]
    for pair in (*pairs, *varies.items()):
        texts += pair
    # A line break in a header would begin another one. (Joining fails for what is no text.)
    if set("\r\n\0") & set("".join(texts)):
        raise ValueError("a line break in a header")
    if expires is not None and type(expires) is not int:
        raise ValueError("not a time")
    return Page(status, reason, charset, pairs, data[end:], varies, expires)
