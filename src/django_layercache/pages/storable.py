"""What may be stored and shared, beyond Django's own rules. Each rule is a predicate and a sentence."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import has_vary_header, patch_vary_headers
from django.utils.functional import LazyObject, empty

from django_layercache.pages.watching import cookies_were_read

__all__ = [
    "is_user_specific",
    "vary_on_what_was_read",
    "why_not_looked_up",
    "why_not_stored",
    "why_user_specific",
]

# -- requests ------------------------------------------------------------------------------


def is_not_safe(request: HttpRequest) -> bool:
    return request.method not in {"GET", "HEAD"}


def has_credentials(request: HttpRequest) -> bool:
    """RFC 9111, section 3.5; ``REMOTE_USER`` is the same, checked by the server in front."""
    return "HTTP_AUTHORIZATION" in request.META or bool(request.META.get("REMOTE_USER"))


def has_a_body(request: HttpRequest) -> bool:
    """A GET with a body may be answered by what is in it, and no key knows that (RFC 9110, 9.3.1)."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return length != "0" or "HTTP_TRANSFER_ENCODING" in request.META


_NOT_LOOKED_UP: tuple[tuple[Callable[[HttpRequest], bool], str], ...] = (
    (is_not_safe, "method"),
    (has_credentials, "the request has credentials"),
    (has_a_body, "the request has a body"),
)


def why_not_looked_up(request: HttpRequest) -> str | None:
    """Why *request* must go by the store, in both directions; ``None`` if it need not."""
    for applies, why in _NOT_LOOKED_UP:
        if applies(request):
            return why
    return None


# -- who is asking -------------------------------------------------------------------------


def sets_a_cookie(_: HttpRequest, response: HttpResponseBase) -> bool:
    return bool(response.cookies) or response.has_header("Set-Cookie")


def used_the_csrf_token(request: HttpRequest, _: HttpResponseBase) -> bool:
    # Django leaves the name behind, whether or not the visitor had the cookie before.
    return "CSRF_COOKIE_NEEDS_UPDATE" in request.META


def read_a_session(request: HttpRequest, _: HttpResponseBase) -> bool:
    session = getattr(request, "session", None)
    if session is None or not session.accessed:
        return False
    return bool(session.modified or not session.is_empty())


def knew_the_user(request: HttpRequest, _: HttpResponseBase) -> bool:
    return any(getattr(user, "is_authenticated", False) for user in _users_read(request))


def had_messages(request: HttpRequest, _: HttpResponseBase) -> bool:
    messages = getattr(request, "_messages", None)
    if messages is None:
        return False
    return bool(
        messages.added_new
        or getattr(messages, "_queued_messages", None)
        or getattr(messages, "_loaded_data", None)
    )


def used_a_nonce(request: HttpRequest, _: HttpResponseBase) -> bool:
    """Of the Content Security Policy: Django's (6.0 and later) or django-csp's."""
    return _evaluated(getattr(request, "_csp_nonce", None)) is not None


Rule = tuple[Callable[[HttpRequest, HttpResponseBase], bool], str]

_USER_SPECIFIC: tuple[Rule, ...] = (
    (used_the_csrf_token, "it holds a CSRF token"),
    (knew_the_user, "it was built for a user who is logged in"),
    (read_a_session, "it was built from a session"),
    (had_messages, "it shows messages"),
    (used_a_nonce, "it holds a nonce"),
    (sets_a_cookie, "it sets a cookie"),
)


def why_user_specific(request: HttpRequest, response: HttpResponseBase) -> str | None:
    """Why *response* is for one visitor only; ``None`` if nothing says so."""
    return _first(_USER_SPECIFIC, request, response)


def is_user_specific(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether nobody but this visitor may see *response*."""
    return has_credentials(request) or why_user_specific(request, response) is not None


def vary_on_what_was_read(request: HttpRequest, response: HttpResponseBase) -> None:
    """Have *response* say ``Vary: Cookie`` if a cookie decided that it is for an unknown visitor.

    Django's session middleware says it too, but later than a cached view is stored.
    """
    session = getattr(request, "session", None)
    messages = getattr(request, "_messages", None)
    if (
        (session is not None and session.accessed)
        or hasattr(messages, "_loaded_data")
        or _users_read(request)
        or cookies_were_read(request)
    ):
        patch_vary_headers(response, ("Cookie",))


def _users_read(request: HttpRequest) -> list[Any]:
    """The users that somebody has asked the request for."""
    users = [getattr(request, name, None) for name in ("_cached_user", "_acached_user")]
    users.append(_evaluated(request.__dict__.get("user")))
    return [user for user in users if user is not None]


def _evaluated(value: Any) -> Any:
    """*value*, or what it stands for if it is lazy; ``None`` if nobody has asked for that yet."""
    if not issubclass(type(value), LazyObject):  # isinstance() would ask for it
        return value
    return None if value._wrapped is empty else value._wrapped


# -- responses -----------------------------------------------------------------------------


def is_streaming(_: HttpRequest, response: HttpResponseBase) -> bool:
    return response.streaming


def is_not_a_plain_success(_: HttpRequest, response: HttpResponseBase) -> bool:
    return response.status_code != 200


def varies_on_everything(_: HttpRequest, response: HttpResponseBase) -> bool:
    return has_vary_header(response, "*")


def answers_head_only(request: HttpRequest, _: HttpResponseBase) -> bool:
    """A view may leave the body out. What GET has stored answers HEAD, never the other way round."""
    return request.method != "GET"


_NOT_STORED: tuple[Rule, ...] = (
    (is_not_a_plain_success, "its status is not 200"),
    (is_streaming, "it is streamed"),
    *_USER_SPECIFIC,
    (varies_on_everything, "it varies on everything"),
    (answers_head_only, "it answers HEAD"),
)


def why_not_stored(request: HttpRequest, response: HttpResponseBase) -> str | None:
    """Why *response* must not be stored; ``None`` if it is Django's to decide."""
    return _first(_NOT_STORED, request, response)


def _first(rules: tuple[Rule, ...], request: HttpRequest, response: HttpResponseBase) -> str | None:
    for applies, why in rules:
        if applies(request, response):
            return why
    return None
