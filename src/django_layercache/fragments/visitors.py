"""What belongs to one visitor, and therefore into no fragment that others get to see.

Nothing of Django is patched: while a fragment is rendered, names in its context stand for lazy
objects that hand out the real one and remember that they did; and what the request remembers of
its session and of its CSRF token is looked at before and after.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.template import Context
from django.utils.functional import SimpleLazyObject

from django_layercache.engine import current_scope

__all__ = ["watching"]

_TOKEN = "it holds a visitor's CSRF token"  # noqa: S105 - a sentence
_USER = "it asks who the visitor is, and does not vary on it"
_SESSION = "it reads a visitor's session"

_PRIVATE = {
    "csrf_token": _TOKEN,
    "csp_nonce": "it holds the nonce of one response",
    "messages": "it holds a visitor's messages",
}
_ABOUT_THE_USER = {"user": _USER, "perms": _USER}


@contextmanager
def watching(context: Context, *, knows_user: bool, knows_session: bool) -> Iterator[None]:
    """Inside the block, reading what is private forbids to store the fragment, and what encloses it.

    *knows_user*, *knows_session*: the key of the fragment speaks for them.
    """
    private = _PRIVATE if knows_user else _PRIVATE | _ABOUT_THE_USER
    spies = {name: _spy(context[name], why) for name, why in private.items() if name in context}
    request = context.get("request")
    with ExitStack() as stack:
        stack.enter_context(context.push(**spies))
        if request is not None:
            stack.enter_context(_watching_csrf(request))
            if not knows_user:
                stack.enter_context(_watching_user(request))
            if not knows_session:
                stack.enter_context(_watching_session(request))
        yield


@contextmanager
def _watching_csrf(request: Any) -> Iterator[None]:
    """For tags that ask the request for its token, and not the context."""
    flag = "CSRF_COOKIE_NEEDS_UPDATE"
    before = request.META.pop(flag, None)
    try:
        yield
    finally:
        if flag in request.META:
            _forbid(_TOKEN)
        elif before is not None:
            request.META[flag] = before


@contextmanager
def _watching_user(request: Any) -> Iterator[None]:
    user = request.__dict__.get("user")
    if user is None:
        yield
        return
    request.user = _spy(user, _USER)
    try:
        yield
    finally:
        request.user = user


@contextmanager
def _watching_session(request: Any) -> Iterator[None]:
    session = getattr(request, "session", None)
    if session is None:
        yield
        return
    before, session.accessed = session.accessed, False
    try:
        yield
    finally:
        if session.accessed:
            _forbid(_SESSION)
        session.accessed = before or session.accessed


def _spy(value: Any, why: str) -> "SimpleLazyObject[Any]":
    def reveal() -> Any:
        _forbid(why)
        return value

    return SimpleLazyObject(reveal)


def _forbid(why: str) -> None:
    scope = current_scope()
    if scope is not None:
        scope.forbid(why)
