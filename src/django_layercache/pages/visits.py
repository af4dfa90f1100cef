"""One request to a layer of pages: every decision about it, and no I/O.

:class:`~django_layercache.pages.layer.PageLayer` drives it, once for sync and once for async code.
"""

import time
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from django_layercache import tenants
from django_layercache.engine import Recipe
from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.pages import django_rules, headers, storable, variants
from django_layercache.pages.locales import Locale, active, with_locale
from django_layercache.serializers.keyable import shorten
from django_layercache.serializers.pages import Page, dump_page, load_page
from django_layercache.serializers.sharing import size_of_page
from django_layercache.timeouts import DEFAULT, Timeout, in_force

__all__ = ["Answer", "Visit"]

LAYER = "pages"
#: To be raised when keys, or the bytes under them, come to mean something else.
FORMAT = 1

_VARIANTS = variants.Variants()
#: An attribute of the request: for how many seconds the pages inside of what is built may be kept.
_SECONDS = "_layercache_seconds"


@dataclass(slots=True)
class Answer:
    """A response, and how it came about.

    ``kept`` is the page as Django would store it; without it, ``why`` says why not.
    """

    response: HttpResponseBase
    hit: bool = False
    stored: bool = False
    why: str | None = None
    private: bool = False
    says_nothing: bool = True
    kept: django_rules.Kept | None = None
    varies: dict[str, str] | None = None
    expires: int | None = None


class Visit:
    """See the module. *prefix* sets this layer's pages apart from those of others at the same URL."""

    def __init__(
        self,
        request: HttpRequest,
        *,
        prefix: str,
        timeout: Timeout,
        locale: Locale,
        outermost: bool,
        generation: str = "",
        bypass: str | None = None,
    ) -> None:
        self.request = request
        self.bypass = storable.why_not_looked_up(request) or bypass
        #: What was learned from the response, for other processes.
        self.hint: bytes | None = None
        self._prefix = prefix
        self._timeout = timeout
        self._outermost = outermost
        self._headers: list[str] | None = None
        self._found: dict[str, Any] = {}
        self._locale = locale
        self._tenant = tenants.current()
        if self.bypass is None:
            _VARIANTS.keep_to(generation)
            self._generation = _VARIANTS.generation
            self._uri = request.build_absolute_uri()
            self._find(_VARIANTS.get)

    # -- looking --------------------------------------------------------------------------

    def _find(self, headers_of: Any) -> None:
        def known(key: str) -> list[str] | None:
            self._headers = headers_of(key)
            return self._headers

        with with_locale(self.request, self._locale):
            keys = django_rules.keys(self.request, self._uri, self._prefix, known)
        self._url_key = keys[0]
        # Of a HEAD request, too, the first page is that of GET; the second is never stored.
        self._page_key = keys[1] if len(keys) > 1 else None

    @property
    def is_blind(self) -> bool:
        """Nobody knows yet which headers this URL's pages differ by, and so where to look."""
        return self._page_key is None

    @property
    def hint_key(self) -> str:
        return self._key(self._url_key)

    def recall(self, hint: bytes | None) -> None:
        """Look again, if *hint* says where."""
        known = variants.decoded_headers(hint)
        if known is not None:
            _VARIANTS.learn(self._url_key, known)
            self._look_again(known)

    def remember(self) -> bool:
        """Look again, if this process has learned meanwhile where; whether it has."""
        known = _VARIANTS.get(self._url_key)
        if known is not None:
            self._look_again(known)
        return known is not None

    def _look_again(self, known: list[str]) -> None:
        self._find(lambda key: known)

    def _key(self, key: str) -> str:
        tenant = f"@{self._tenant}" if self._tenant else ""
        return f"{LAYER}:{FORMAT}:{shorten(self.request.get_full_path())}:{key}{tenant}"

    def recipe(self) -> Recipe:
        """Where the page would be, and how it is stored: where the response says."""
        key = self._key(self._page_key or f"{self._url_key}.first")
        return Recipe(
            LAYER,
            key,
            _Codec,
            self._seconds,
            place=self.place,
            size_of=size_of_page,
            hand_out=self.show,
        )

    @property
    def _seconds(self) -> float | None:
        return in_force(self._timeout)

    # -- building -------------------------------------------------------------------------

    def built(self, response: HttpResponseBase, generation: str = "") -> Answer:
        """The answer that *response* is, and whether and where it may be stored.

        *generation* is the store's now.
        """
        _VARIANTS.keep_to(generation)
        if self._generation and self._generation != _VARIANTS.generation:
            self._headers = None  # the store was cleared, and there are no pages to agree with
        said = headers.said_by_view(response)
        answer = Answer(response, says_nothing=said.nothing)
        if response.status_code == 200:
            storable.vary_on_what_was_read(self.request, response)
            self._vary_as_before(response)
        answer.private = storable.is_user_specific(self.request, response)
        answer.why = storable.why_not_stored(self.request, response) or self._locale_objection(
            response
        )
        if answer.why is None:
            if self._outermost:
                headers.add_etag(response)
            self._ask_django(answer)
            said.restore(response)
        elif response.status_code == 200 and not response.streaming:
            # Not to be found, but so that those who wait for it find that out for themselves.
            self._learn(django_rules.learned_headers(self.request, response, self._prefix))
        return answer

    def _vary_as_before(self, response: HttpResponseBase) -> None:
        # All pages of a URL differ by the same headers, or those that differ by fewer would be
        # looked for elsewhere than where they are.
        names = [
            name.removeprefix("HTTP_").replace("_", "-").title() for name in self._headers or ()
        ]
        if names:
            patch_vary_headers(response, names)

    def _locale_objection(self, response: HttpResponseBase) -> str | None:
        if active(self.request) == self._locale:
            return None
        # Something else than what is in the key has decided it. A cookie, most likely.
        patch_vary_headers(response, ("Cookie",))
        return "its language or time zone was not foreseen"

    def _ask_django(self, answer: Answer) -> None:
        seconds = self._seconds
        seconds = django_rules.FOREVER if seconds is None else seconds
        seconds = min(seconds, getattr(self.request, _SECONDS, seconds))
        if seconds == 0:
            answer.why = "its timeout is 0"
            return
        pair = django_rules.store(
            self.request,
            answer.response,  # type: ignore[arg-type]
            self._prefix,
            default_timeout=seconds,
            page_timeout=None if self._timeout is DEFAULT else seconds,
        )
        if pair is None:
            answer.why = "its own headers forbid it"
            return
        learned, answer.kept = pair
        answer.varies = variants.selected_by(learned.value, self.request.META)
        if answer.kept.timeout == django_rules.FOREVER:
            answer.kept.timeout = None
        else:
            answer.expires = int(time.time() + (answer.kept.timeout or 0))
        if self._learn(learned.value):
            self.hint = variants.encoded_headers(learned.value)

    def _learn(self, learned: list[str]) -> bool:
        if learned == self._headers or "HTTP_*" in learned:
            return False
        _VARIANTS.learn(self._url_key, learned)
        return True

    def place(self, answer: Answer) -> tuple[str, float | None]:
        """Where *answer* is stored, and for how many seconds."""
        if answer.kept is None:
            raise ValueError("an answer that may not be stored")
        answer.stored = True
        return self._key(answer.kept.key), answer.kept.timeout

    # -- leaving --------------------------------------------------------------------------

    def show(self, page: Page) -> Answer:
        """The answer that *page*, which was in the store, is to this request."""
        if not variants.matches(page.varies, self.request.META):
            raise Undecodable("a page for another request")
        response = HttpResponse(
            page.body, status=page.status, reason=page.reason, charset=page.charset
        )
        del response.headers["Content-Type"]
        for name, value in page.headers:
            response.headers[name] = value
        says_nothing = not {"cache-control", "expires"} & {name.lower() for name, _ in page.headers}
        return Answer(
            self._serve(response), hit=True, says_nothing=says_nothing, expires=page.expires
        )

    def _serve(self, response: HttpResponse) -> HttpResponse:
        """*response*, which was in the store, as Django would serve it."""
        known = {self._url_key: self._headers, self._page_key or "": response}
        with with_locale(self.request, self._locale):
            served = django_rules.serve(self.request, self._uri, self._prefix, known)
        if served is None:
            raise Undecodable("Django would not serve it")
        return served

    def bypassed(self, response: HttpResponseBase) -> Answer:
        """The answer that *response* is, where the store must not be used."""
        said = headers.said_by_view(response)
        return Answer(response, why=self.bypass, private=True, says_nothing=said.nothing)

    def leave(self, answer: Answer) -> HttpResponseBase:
        """The response, with what it says to browsers and proxies."""
        response = answer.response
        self._bound_what_is_around(answer)
        if self.bypass != "method" and response.status_code == 200 and not response.streaming:
            if answer.says_nothing:
                headers.add_freshness(response, private=answer.private)
            if self._outermost:
                response = headers.conditional(self.request, response)
        self._add_status(answer, response)
        return response

    def _bound_what_is_around(self, answer: Answer) -> None:
        # The site keeps a page no longer than its view does, who said so for a reason.
        seconds = 0.0 if self._seconds == 0 else self._left(answer)
        if seconds is not None and self.bypass is None:
            setattr(self.request, _SECONDS, min(seconds, getattr(self.request, _SECONDS, seconds)))

    def _left(self, answer: Answer) -> int | None:
        return None if answer.expires is None else max(0, answer.expires - int(time.time()))

    def _add_status(self, answer: Answer, response: HttpResponseBase) -> None:
        ttl = self._left(answer) if answer.hit or answer.stored else None
        if self.bypass == "method":
            headers.add_status(response, forwarded="method")
        elif self.bypass is not None:
            headers.add_status(response, forwarded="bypass", detail=self.bypass)
        else:
            headers.add_status(
                response, hit=answer.hit, stored=answer.stored, ttl=ttl, detail=answer.why
            )


class _Codec:
    """The codec of pages: an answer that was built becomes the bytes of a :class:`Page`."""

    @staticmethod
    def dumps(value: Answer) -> bytes:
        response = value.response
        if value.hit or value.stored:
            raise Unstorable("it is stored already")
        if value.kept is None or not isinstance(response, HttpResponse):
            raise Unstorable(value.why or "it is no page")
        kept_headers = [
            (name, text) for name, text in response.headers.items() if name not in _NOT_KEPT
        ]
        varies = value.varies or {}
        return dump_page(
            Page(
                response.status_code,
                response.reason_phrase,
                response.charset,
                kept_headers,
                response.content,
                varies,
                value.expires,
            )
        )

    loads = staticmethod(load_page)


#: They say how this response came about, not what it is.
_NOT_KEPT = frozenset({"Age", "Cache-Status", "Set-Cookie"})
