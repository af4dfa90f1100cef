"""What a page says to browsers and proxies about keeping it.

Django's cache middleware tells them to keep a page for as long as it does itself. But nobody
tells *them* when it changes: that would be stale content that nothing can take back. So what
Django adds is taken off again. A page whose view says nothing leaves with ``no-cache``, which
means "ask before you show it again", and with an ``ETag`` that makes asking cheap. A view that
says something is left its word.
"""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware
from django.utils.cache import get_max_age, set_response_etag

__all__ = ["Said", "add_etag", "add_freshness", "add_status", "conditional", "said_by_view"]

_OURS = "_layercache_ours"


@dataclass(frozen=True, slots=True)
class Said:
    """What the view itself said about keeping its response."""

    cache_control: str | None
    expires: str | None

    @property
    def nothing(self) -> bool:
        return self.cache_control is None and self.expires is None

    def restore(self, response: HttpResponseBase) -> None:
        """Take off what Django added, except the ``Expires`` from which it computes ``Age``."""
        _set(response, "Cache-Control", self.cache_control)
        if self.expires is not None or get_max_age(response) is None:
            _set(response, "Expires", self.expires)


def said_by_view(response: HttpResponseBase) -> Said:
    """What the view said. What a cached view inside of this layer has added is removed.

    If somebody has added to that meanwhile, it stays: it may be a prohibition.
    """
    ours = response.__dict__.pop(_OURS, None)
    said = response.headers.get("Cache-Control")
    if ours is not None and ours == said:
        del response.headers["Cache-Control"]
        said = None
    return Said(said, response.headers.get("Expires"))


def add_freshness(response: HttpResponseBase, *, private: bool) -> None:
    """``no-cache``: to be shown again only after asking. *private*: and never to somebody else."""
    says = "private, no-cache" if private else "no-cache"
    response.headers["Cache-Control"] = says
    setattr(response, _OURS, says)


def add_etag(response: HttpResponseBase) -> None:
    """An ``ETag``, where Django would add one."""
    if (
        isinstance(response, HttpResponse)
        and not response.has_header("ETag")
        and _CONDITIONAL.needs_etag(response)
    ):
        set_response_etag(response)


def conditional(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """*response*, or 304 or 412 if the conditions in *request* say so. Django's own middleware does it."""
    return _CONDITIONAL.process_response(request, response)


def add_status(
    response: HttpResponseBase,
    *,
    hit: bool = False,
    forwarded: str = "miss",
    stored: bool = False,
    ttl: int | None = None,
    detail: str | None = None,
) -> None:
    """Append to ``Cache-Status`` what this layer did (RFC 9211)."""
    member = ["layercache", "hit" if hit else f"fwd={forwarded}"]
    if stored:
        member.append("stored")
    if ttl is not None:
        member.append(f"ttl={ttl}")
    if detail is not None:
        escaped = detail.replace("\\", "\\\\").replace('"', '\\"')
        member.append(f'detail="{escaped}"')
    before = response.headers.get("Cache-Status")
    members = [before] if before else []
    response.headers["Cache-Status"] = ", ".join([*members, "; ".join(member)])


def _set(response: HttpResponseBase, name: str, value: str | None) -> None:
    if value is not None:
        response.headers[name] = value
    elif name in response.headers:
        del response.headers[name]


def _nobody(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError  # only the response's half of the middleware is called


_CONDITIONAL = ConditionalGetMiddleware(_nobody)
