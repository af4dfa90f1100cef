"""Which request headers the pages of a URL differ by, remembered in this process.

Learned from the ``Vary`` of its responses. The store has it too, as a hint; remembering it saves
that round trip. If it is wrong, a page is looked for in the wrong place, and not found; and a
page that is found says itself which request it was made for. Where the store was cleared it is
forgotten: the pages to come may differ by fewer headers than those that there were.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from django_layercache.forks import renewed_in_children

__all__ = ["Variants", "decoded_headers", "encoded_headers", "matches", "selected_by"]


class Variants:
    """The headers of each URL, the least recently used forgotten first."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._headers: OrderedDict[str, list[str]] = OrderedDict()
        self._lock = renewed_in_children(threading.Lock())
        #: Of the store that has these pages.
        self.generation = ""

    def keep_to(self, generation: str) -> None:
        """Forget what belongs to another *generation*; an empty one is not known."""
        if generation and generation != self.generation:
            if self.generation:
                self.clear()
            self.generation = generation

    def get(self, url_key: str) -> list[str] | None:
        with self._lock:
            headers = self._headers.get(url_key)
            if headers is not None:
                self._headers.move_to_end(url_key)
            return headers

    def learn(self, url_key: str, headers: list[str]) -> None:
        with self._lock:
            self._headers[url_key] = headers
            self._headers.move_to_end(url_key)
            while len(self._headers) > self._size:
                self._headers.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._headers.clear()


def encoded_headers(headers: Sequence[str]) -> bytes:
    """*headers* as a hint."""
    return json.dumps(headers).encode()


def decoded_headers(hint: bytes | None) -> list[str] | None:
    """The headers in *hint*; ``None`` if there is none, or none that could be read."""
    if hint is None:
        return None
    try:
        headers = json.loads(hint.decode())
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(headers, list) and all(isinstance(name, str) for name in headers)
    return headers if is_list else None


def selected_by(headers: Sequence[str], meta: Mapping[str, Any]) -> dict[str, str]:
    """What *headers* say in this request, digested: they hold cookies."""
    return {name: _digest(meta.get(name)) for name in headers}


def matches(varies: Mapping[str, str], meta: Mapping[str, Any]) -> bool:
    """Whether a page that was selected by *varies* answers this request (RFC 9111, section 4.1)."""
    return all(_digest(meta.get(name)) == digest for name, digest in varies.items())


def _digest(value: str | None) -> str:
    if value is None:
        return "-"
    data = str(value).encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=16).hexdigest()
