"""The language and the time zone that a page will have, foreseen from the request.

Django's key of a page names both, and Django looks the page up after its locale middleware has
chosen them. The site's middleware looks it up before. So it foresees the choice, and a page that
turns out to have another language or time zone is not stored. What is active in the thread when
the request comes in does not count: it was the last visitor's.
"""

from functools import lru_cache
from types import TracebackType
from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.utils import timezone, translation
from django.utils.module_loading import import_string

__all__ = ["UNCLEAR", "Locale", "active", "chosen_later", "foreseen", "with_locale"]

_DJANGOS_OWN = f"{LocaleMiddleware.__module__}.{LocaleMiddleware.__qualname__}"


#: The request's own language and the active one disagree. Django's key would name the first.
UNCLEAR = "?"


class Locale(NamedTuple):
    """A language (``None``: deactivated, or not used) and the name of a time zone."""

    language: str | None
    zone: str


def active(request: HttpRequest) -> Locale:
    """What is active now; the request's own language first, as in Django's key."""
    language = translation.get_language() if settings.USE_I18N else None
    if settings.USE_I18N and getattr(request, "LANGUAGE_CODE", language) != language:
        language = UNCLEAR
    return Locale(language, timezone.get_current_timezone_name() if settings.USE_TZ else "")


def foreseen(request: HttpRequest, before: tuple[str, ...], after: tuple[str, ...]) -> Locale:
    """What will be active when *request* is answered.

    *before* and *after* are the middleware that has run and that is still to run.
    """
    if any(not path.startswith("django.") for path in before):
        language, zone = active(request)  # somebody may have chosen on purpose
    else:
        language = settings.LANGUAGE_CODE if settings.USE_I18N else None
        zone = timezone.get_default_timezone_name() if settings.USE_TZ else ""
    if settings.USE_I18N:
        if hasattr(request, "LANGUAGE_CODE"):
            language = active(request).language
        elif _DJANGOS_OWN in after:
            language = _as_django_chooses(request)
    return Locale(language, zone)


def _as_django_chooses(request: HttpRequest) -> str | None:
    with translation.override(translation.get_language()):
        LocaleMiddleware(_nobody).process_request(request)
    language: str | None = request.LANGUAGE_CODE
    del request.LANGUAGE_CODE
    return language


class with_locale:  # noqa: N801 - a context manager
    """Inside the block, Django's keys name *locale*."""

    __slots__ = ("_had_language", "_language", "_locale", "_request", "_zone")

    def __init__(self, request: HttpRequest, locale: Locale) -> None:
        self._request = request
        self._locale = locale

    def __enter__(self) -> None:
        request = self._request
        self._had_language = hasattr(request, "LANGUAGE_CODE")
        self._zone: timezone.override | None = None
        if not self._had_language and settings.USE_I18N:
            request.LANGUAGE_CODE = self._locale.language  # type: ignore[assignment]
        if settings.USE_TZ and timezone.get_current_timezone_name() != self._locale.zone:
            # The foreseen one is either active, or the default.
            self._zone = timezone.override(timezone.get_default_timezone())
            self._zone.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._had_language and settings.USE_I18N:
            del self._request.LANGUAGE_CODE
        if self._zone is not None:
            self._zone.__exit__(kind, error, traceback)


@lru_cache(maxsize=8)
def chosen_later(after: tuple[str, ...]) -> bool:
    """Whether a locale middleware of the project's own is still to run: nobody knows how it chooses."""
    return any(path != _DJANGOS_OWN and _is_locale_middleware(path) for path in after)


def _is_locale_middleware(path: str) -> bool:
    middleware = import_string(path)
    return isinstance(middleware, type) and issubclass(middleware, LocaleMiddleware)


def _nobody(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError  # only its first half is called
