"""A layer of pages: the I/O around :class:`~django_layercache.pages.visits.Visit`, sync and async."""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_layercache.engine import Engine
from django_layercache.handlers import get_engine
from django_layercache.pages.locales import UNCLEAR, Locale, active, chosen_later, foreseen
from django_layercache.pages.visits import Answer, Visit
from django_layercache.timeouts import DEFAULT, Timeout

__all__ = ["PageLayer"]

#: How long a hint is kept. Without it a page is built once more, and says it again.
HINT_SECONDS = 24 * 60 * 60

_SITE = "_layercache_site"


class PageLayer:
    """The site's pages, or those of one view.

    *name* sets them apart from others at the same URL. *middleware* is what runs before and
    after this layer, if it is a middleware itself.
    """

    def __init__(
        self,
        name: str,
        timeout: Timeout = DEFAULT,
        middleware: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
    ) -> None:
        self._name = name
        self._timeout = timeout
        self._middleware = middleware

    def answer(
        self, request: HttpRequest, respond: Callable[[], HttpResponseBase]
    ) -> HttpResponseBase:
        """The page that answers *request*: from the store, else from *respond*."""
        engine = get_engine()
        if not engine.enabled:
            return respond()
        visit = self._visit(request, engine.generation)
        if visit.bypass is not None:
            return visit.leave(visit.bypassed(respond()))
        if visit.is_blind:
            visit.recall(engine.get_hint(visit.hint_key))
        return visit.leave(self._answer(engine, visit, respond))

    def _answer(
        self, engine: Engine, visit: Visit, respond: Callable[[], HttpResponseBase]
    ) -> Answer:
        was_blind = visit.is_blind

        def build() -> Answer:
            if was_blind and visit.remember():
                # The one that this one has waited for knows where to look.
                return self._answer(engine, visit, respond)
            answer = visit.built(respond(), engine.generation)
            if visit.hint is not None:
                engine.keep_hint(visit.hint_key, visit.hint, HINT_SECONDS)
            return answer

        answer: Answer = engine.get_or_build(visit.recipe(), build)
        return answer

    async def aanswer(
        self, request: HttpRequest, respond: Callable[[], Awaitable[HttpResponseBase]]
    ) -> HttpResponseBase:
        """:meth:`answer` with an async *respond*."""
        engine = get_engine()
        if not engine.enabled:
            return await respond()
        visit = self._visit(request, engine.generation)
        if visit.bypass is not None:
            return visit.leave(visit.bypassed(await respond()))
        if visit.is_blind:
            visit.recall(await engine.aget_hint(visit.hint_key))
        return visit.leave(await self._aanswer(engine, visit, respond))

    async def _aanswer(
        self, engine: Engine, visit: Visit, respond: Callable[[], Awaitable[HttpResponseBase]]
    ) -> Answer:
        was_blind = visit.is_blind

        async def build() -> Answer:
            if was_blind and visit.remember():
                return await self._aanswer(engine, visit, respond)
            answer = visit.built(await respond(), engine.generation)
            if visit.hint is not None:
                await engine.akeep_hint(visit.hint_key, visit.hint, HINT_SECONDS)
            return answer

        answer: Answer = await engine.aget_or_build(visit.recipe(), build)
        return answer

    def _visit(self, request: HttpRequest, generation: str) -> Visit:
        is_site = self._middleware is not None
        outermost = is_site or not hasattr(request, _SITE)
        if is_site:
            setattr(request, _SITE, True)
        locale = self._locale(request)
        return Visit(
            request,
            prefix=self._name,
            timeout=self._timeout,
            locale=locale,
            outermost=outermost,
            generation=generation,
            bypass=self._nobody_knows_the_language(locale),
        )

    def _nobody_knows_the_language(self, locale: Locale) -> str | None:
        if locale.language == UNCLEAR:
            return "the active language is not the request's"
        if self._middleware is not None and chosen_later(self._middleware[1]):
            return "its language is chosen later, nobody knows how"
        return None

    def _locale(self, request: HttpRequest) -> Locale:
        if self._middleware is None:
            return active(request)  # they have been chosen when the view is called
        return foreseen(request, *self._middleware)
