"""Django's own cache middleware, run whole: it decides what may be stored, and under which key.

Its rules are not repeated here. What it would read from a cache, and write to it, goes over a
:class:`Shelf`; so a rule that a security release of Django adds holds here on the day that
Django is upgraded.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware
from django.utils.cache import learn_cache_key

__all__ = ["FOREVER", "Kept", "keys", "learned_headers", "serve", "store"]

#: What Django's arithmetic is told instead of "no expiry": it knows only seconds.
FOREVER = 365 * 24 * 60 * 60


class Shelf:
    """Stands where Django expects a cache: knows what it was given, remembers what is asked of it."""

    def __init__(self, known: dict[str, Any] | None = None) -> None:
        self.known = known or {}
        self.asked: list[str] = []
        self.kept: list[Kept] = []

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.append(key)
        return self.known.get(key, default)

    def set(self, key: str, value: Any, timeout: float | None = None) -> None:
        self.kept.append(Kept(key, value, timeout))


class _Register(Shelf):
    """A shelf that holds no pages, but the headers that they differ by: the first thing asked for."""

    def __init__(self, headers_of: Callable[[str], list[str] | None]) -> None:
        super().__init__()
        self._headers_of = headers_of

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.append(key)
        return self._headers_of(key) if key == self.asked[0] else default


class Kept:
    """What Django would have put in its cache."""

    __slots__ = ("key", "timeout", "value")

    def __init__(self, key: str, value: Any, timeout: float | None) -> None:
        self.key = key
        self.value = value
        self.timeout = timeout


class _Fetch(FetchFromCacheMiddleware):
    def __init__(self, shelf: Shelf, prefix: str) -> None:
        super().__init__(_nobody)
        self.key_prefix = prefix
        self._shelf = shelf

    @property
    def cache(self) -> Any:
        return self._shelf


class _Update(UpdateCacheMiddleware):
    def __init__(self, shelf: Shelf, prefix: str) -> None:
        super().__init__(_nobody)
        self.key_prefix = prefix
        self._shelf = shelf

    @property
    def cache(self) -> Any:
        return self._shelf

    def _should_update_cache(self, *_: object) -> bool:
        # Another cache inside of this one may have left its own answer on the request.
        return True


def keys(
    request: HttpRequest, uri: str, prefix: str, headers_of: Callable[[str], list[str] | None]
) -> list[str]:
    """The keys that Django would ask for: of the learned headers, then, if those are known, of the page.

    *uri* is the absolute one of *request*; *headers_of* knows the headers that are under a key.
    Empty if Django would not ask at all.
    """
    shelf = _Register(headers_of)
    _fetch(request, uri, prefix, shelf)
    return list(dict.fromkeys(shelf.asked))


def serve(
    request: HttpRequest, uri: str, prefix: str, found: dict[str, Any]
) -> HttpResponse | None:
    """The response that is in *found*, as Django would serve it; ``None`` if it would not."""
    return _fetch(request, uri, prefix, Shelf(found))


def _fetch(request: HttpRequest, uri: str, prefix: str, shelf: Shelf) -> HttpResponse | None:
    def build_absolute_uri(location: str | None = None) -> str:
        # Django asks for it once for each key.
        return uri if location is None else type(request).build_absolute_uri(request, location)

    request.build_absolute_uri = build_absolute_uri  # type: ignore[method-assign]
    try:
        return _Fetch(shelf, prefix).process_request(request)
    finally:
        del request.build_absolute_uri


def store(
    request: HttpRequest,
    response: HttpResponse,
    prefix: str,
    *,
    default_timeout: float,
    page_timeout: float | None,
) -> tuple[Kept, Kept] | None:
    """The headers and the page that Django would store, or ``None`` if it would not store it."""
    shelf = Shelf()
    update = _Update(shelf, prefix)
    update.cache_timeout = default_timeout
    update.page_timeout = page_timeout  # type: ignore[attr-defined]
    update.process_response(request, response)
    if len(shelf.kept) != 2:
        return None
    headers, page = shelf.kept
    return headers, page


def learned_headers(request: HttpRequest, response: HttpResponseBase, prefix: str) -> list[str]:
    """The request headers that *response* varies on, stored or not, as Django spells them."""
    shelf = Shelf()
    learn_cache_key(request, response, 1, prefix, cache=shelf)  # type: ignore[arg-type]
    headers: list[str] = shelf.kept[0].value
    return headers


def _nobody(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError  # only the two halves of the middleware are called
