"""The language and the time zone that a page will have, foreseen from the request.

Django's key of a page names both, and Django looks the page up after its locale middleware has
chosen them. The site's middleware looks it up before. So it foresees the choice, and a page that
turns out to have another language or time zone is not stored. What is active in the thread when
the request comes in does not count: it was the last visitor's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.utils import timezone, translation
from django.utils.module_loading import import_string

__all__ = ["Locale", "active_locale", "chosen_later", "foreseen"]

#: A language (``None``: deactivated) and a time zone.
Locale = tuple[str | None, str]

_DJANGOS_OWN = f"{LocaleMiddleware.__module__}.{LocaleMiddleware.__qualname__}"


def active_locale(request: HttpRequest) -> Locale:
    """What is active now; the request's own language first, as in Django's key."""
    language = translation.get_language() if settings.USE_I18N else None
    if settings.USE_I18N and getattr(request, "LANGUAGE_CODE", language) != language:
        language = "?"  # the two disagree: nobody foresees that
    return language, timezone.get_current_timezone_name() if settings.USE_TZ else ""


@contextmanager
def foreseen(
    request: HttpRequest, before: tuple[str, ...], after: tuple[str, ...]
) -> Iterator[None]:
    """Inside the block, the language and time zone are those that the page will have.

    *before* and *after* are the middleware that has run and that is still to run.
    """
    if any(not path.startswith("django.") for path in before):
        # Somebody may have chosen on purpose.
        with _language(request, after, translation.get_language()):
            yield
        return
    with (
        timezone.override(timezone.get_default_timezone()),
        _language(request, after, settings.LANGUAGE_CODE),
    ):
        yield


@contextmanager
def _language(
    request: HttpRequest, after: tuple[str, ...], otherwise: str | None
) -> Iterator[None]:
    if not settings.USE_I18N or hasattr(request, "LANGUAGE_CODE"):
        yield
        return
    with translation.override(otherwise):
        if _DJANGOS_OWN not in after:
            yield
            return
        LocaleMiddleware(_nobody).process_request(request)
        try:
            yield
        finally:
            del request.LANGUAGE_CODE


@lru_cache(maxsize=8)
def chosen_later(after: tuple[str, ...]) -> bool:
    """Whether a locale middleware of the project's own is still to run: nobody knows how it chooses."""
    return any(path != _DJANGOS_OWN and _is_locale_middleware(path) for path in after)


def _is_locale_middleware(path: str) -> bool:
    middleware = import_string(path)
    return isinstance(middleware, type) and issubclass(middleware, LocaleMiddleware)


def _nobody(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError  # only its first half is called
