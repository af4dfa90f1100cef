"""The middleware that caches the pages of a whole site, and the one that says where a request begins."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_layercache.pages import PageLayer, watch
from django_layercache.stores.near_request import token_snapshot

__all__ = ["LayerCacheMiddleware", "TokenSnapshotMiddleware"]


class LayerCacheMiddleware:
    """Put it first: ``MIDDLEWARE = ["django_layercache.middleware.LayerCacheMiddleware", ...]``.

    What stands before it runs for every request, what stands behind it only for those that the
    store cannot answer. So put it behind middleware that guards access by something else than
    sessions and ``Authorization``, and behind middleware that chooses a language or a time zone
    by something else than Django's own ``LocaleMiddleware`` does.

    Every page is kept for ``LAYERCACHE["TIMEOUT"]`` seconds, or for as long as its own
    ``max-age`` says. A view opts out with Django's ``never_cache``, with ``no_cache()``, or with
    a ``Cache-Control`` of its own.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._layer = PageLayer("site", middleware=self._neighbours())
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
            self.process_view = self._aprocess_view  # type: ignore[assignment] # saves a thread

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._acall(request)
        with token_snapshot():
            return self._layer.answer(request, lambda: self.get_response(request))

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        with token_snapshot():
            return await self._layer.aanswer(request, lambda: self.get_response(request))

    def process_view(self, request: HttpRequest, *_: Any) -> None:
        """Called by Django when all middleware has seen the request, right before the view."""
        watch(request)

    async def _aprocess_view(self, request: HttpRequest, *_: Any) -> None:
        watch(request)

    def _neighbours(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The middleware before and after this one."""
        paths = tuple(settings.MIDDLEWARE)
        own = f"{type(self).__module__}.{type(self).__qualname__}"
        position = paths.index(own) if own in paths else 0
        return paths[:position], paths[position + 1 :]


class TokenSnapshotMiddleware:
    """One :func:`~django_layercache.token_snapshot` for each request. ``LayerCacheMiddleware`` has it built in."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._acall(request)
        with token_snapshot():
            response: HttpResponseBase = self.get_response(request)
            return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        with token_snapshot():
            response: HttpResponseBase = await self.get_response(request)
            return response
