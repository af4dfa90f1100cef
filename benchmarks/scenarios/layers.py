"""Functions, template fragments and pages: hits.

A contender without such a layer, but with cached querysets, is measured with those below.
"""

from itertools import cycle
from typing import Any

from django.core.handlers.base import BaseHandler
from django.template import Context, engines
from django.test import RequestFactory
from django.test.utils import override_settings

from benchmarks.blog.models import Post
from benchmarks.blog.seed import AUTHORS, CATEGORIES
from benchmarks.contenders import Contender
from benchmarks.scenarios.base import Call


def statistics(author: int) -> dict[str, Any]:
    """Two queries, and a small dictionary of what they say."""
    posts = Post.objects.filter(author_id=author)
    newest = list(posts.order_by("-published_at").values_list("pk", "title", "rating")[:5])
    return {"author": author, "total": posts.count(), "newest": newest}


def function(contender: Contender) -> Call | None:
    if contender.name == "floor":
        return _hit(
            lambda author: contender.value(f"{author}", lambda: statistics(author)), AUTHORS
        )
    kept = contender.function(statistics)
    return _hit(kept, AUTHORS) if kept else _below(contender, statistics, AUTHORS)


FRAGMENT = """
<ul>{% for post in posts %}<li>{{ post.title }}, {{ post.rating }}</li>{% endfor %}</ul>
"""


def fragment(contender: Contender) -> Call | None:
    if contender.name == "floor":
        return None
    load, begin, end = contender.fragment or ("", "", "")
    template = engines["django"].from_string(f"{load}{begin}{FRAGMENT}{end}").template

    def render(number: int) -> str:
        posts = Post.objects.filter(author_id=number).order_by("-published_at")[:20]
        return template.render(Context({"number": number, "posts": posts}))

    if contender.fragment:
        return _hit(render, AUTHORS)
    return _below(contender, render, AUTHORS)


def view(contender: Contender) -> Call | None:
    from benchmarks.blog.views import page

    if contender.name == "floor":
        return None
    if contender.view(page):
        return _hit(_pages("kept", ()), CATEGORIES)
    return _below(contender, _pages("bare", ()), CATEGORIES)


def site(contender: Contender) -> Call | None:
    if contender.middleware:
        return _hit(_pages("bare", contender.middleware), CATEGORIES)
    return view(contender) if contender.name == "plain" else None


def _pages(prefix: str, middleware: tuple[str, ...]) -> Any:
    """Asks Django's handler for a page, as a server would: middleware, URLs, view, template."""
    with override_settings(
        MIDDLEWARE=[*middleware[:1], "django.middleware.common.CommonMiddleware", *middleware[1:]],
        CACHE_MIDDLEWARE_SECONDS=3600,
    ):
        handler = BaseHandler()
        handler.load_middleware()
    requests = RequestFactory()

    def ask(number: int) -> bytes:
        response = handler.get_response(requests.get(f"/{prefix}/{number}/"))
        if response.status_code != 200:
            raise RuntimeError(f"The page answers {response.status_code}.")
        return response.content

    return ask


def _hit(ask: Any, numbers: int) -> Call:
    turns = cycle(range(1, numbers + 1))
    return Call(lambda: ask(next(turns)), warm_up=numbers, is_hit=True)


def _below(contender: Contender, ask: Any, numbers: int) -> Call | None:
    """No layer of that kind: built each time, from cached querysets if there are any."""
    if not contender.caches or contender.caches_querysets:
        turns = cycle(range(1, numbers + 1))
        return Call(lambda: ask(next(turns)), warm_up=numbers, is_hit=contender.caches_querysets)
    return None
