"""Reads that tell visitors apart, and that Django does not notice.

Django notes that a session was *accessed*, and lets the response vary on the cookie then. It
does not when only the session's key is read (a basket that is found by it), and not when a view
reads another cookie. Without ``Vary: Cookie`` such a page would be everybody's. So, for the
length of one request, its session and its cookies are watched; no class of Django's is changed.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest

__all__ = ["cookies_were_read", "watch"]


def watch(request: HttpRequest) -> None:
    """Watch *request*, from here on: right before its view."""
    if not isinstance(request.COOKIES, _WatchedCookies):
        request.COOKIES = _WatchedCookies(request.COOKIES)
        _watch_session(getattr(request, "session", None))


def cookies_were_read(request: HttpRequest) -> bool:
    """Whether a cookie was read that none of Django's own middleware speaks for."""
    cookies = request.COOKIES
    return isinstance(cookies, _WatchedCookies) and cookies.were_read


class _WatchedCookies(dict[str, str]):
    """Cookies that remember that they were read.

    Whether there is a session's cookie does not count: Django's middleware asks that in any
    case, after the view, and what it decides then is noticed otherwise.
    """

    were_read = False

    def __getitem__(self, name: str) -> str:
        self.were_read = True
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.were_read = True
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        if name != settings.SESSION_COOKIE_NAME:
            self.were_read = True
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self.were_read = True
        return super().__iter__()

    def __len__(self) -> int:
        self.were_read = True
        return super().__len__()

    def keys(self) -> Any:
        self.were_read = True
        return super().keys()

    def values(self) -> Any:
        self.were_read = True
        return super().values()

    def items(self) -> Any:
        self.were_read = True
        return super().items()

    def copy(self) -> dict[str, str]:
        self.were_read = True
        return super().copy()


def _watch_session(session: Any) -> None:
    if session is None:
        return
    try:
        session.__class__ = _watched(type(session))  # type: ignore[arg-type]
    except (AttributeError, TypeError):
        pass  # a session of another make: it has no key that could be read unnoticed


@lru_cache(maxsize=16)
def _watched(kind: "type[Any]") -> Any:
    """A kind of session like *kind*, for which reading the key is reading the session."""
    read_key = kind.session_key.fget

    def session_key(session: Any) -> Any:
        session.accessed = True
        return read_key(session)

    def is_filled(session: Any) -> bool:
        session.accessed = True
        return not session.is_empty()

    members: dict[str, Any] = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "session_key": property(session_key),
    }
    if hasattr(kind, "__bool__"):  # since Django 6.1
        members["__bool__"] = is_filled
    return type(kind.__name__, (kind,), members)
