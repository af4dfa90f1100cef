"""Querysets, hit and missed. What is asked for goes round, as a site's visitors do."""

from itertools import count as numbers
from itertools import cycle
from typing import Any

from django.db.models import Avg, Max, QuerySet, Sum

from benchmarks.blog.models import Post
from benchmarks.blog.seed import AUTHORS, CATEGORIES, POSTS
from benchmarks.contenders import Contender
from benchmarks.scenarios.base import Call

_KEYS = 50


def get(contender: Contender) -> Call:
    keys = cycle(range(1, _KEYS + 1))

    def once() -> Any:
        pk = next(keys)
        return contender.value(f"post:{pk}", lambda: Post.objects.get(pk=pk))

    return _hit(contender, once, _KEYS)


def _newest(author: int) -> QuerySet[Post]:
    return Post.objects.filter(author_id=author, is_public=True).order_by("-published_at")[:20]


def list_20(contender: Contender) -> Call:
    authors = cycle(range(1, AUTHORS + 1))

    def once() -> Any:
        author = next(authors)
        return contender.value(f"newest:{author}", lambda: list(_newest(author)))

    return _hit(contender, once, AUTHORS)


def list_100(contender: Contender) -> Call:
    categories = cycle(range(1, CATEGORIES + 1))

    def once() -> Any:
        category = next(categories)
        posts = Post.objects.filter(category_id=category).select_related("author", "category")
        return contender.value(
            f"joined:{category}", lambda: list(posts.order_by("-published_at")[:100])
        )

    return _hit(contender, once, CATEGORIES)


def count(contender: Contender) -> Call:
    categories = cycle(range(1, CATEGORIES + 1))

    def once() -> Any:
        category = next(categories)
        return contender.value(
            f"count:{category}", lambda: Post.objects.filter(category_id=category).count()
        )

    return _hit(contender, once, CATEGORIES)


def aggregate(contender: Contender) -> Call:
    categories = cycle(range(1, CATEGORIES + 1))

    def once() -> Any:
        category = next(categories)
        return contender.value(f"sum:{category}", lambda: sums(category))

    return _hit(contender, once, CATEGORIES)


def sums(category: int) -> dict[str, Any]:
    posts = Post.objects.filter(category_id=category)
    return posts.aggregate(Sum("views"), Avg("rating"), Max("published_at"))


def miss_get(contender: Contender) -> Call:
    """Each row once; when all have been asked for, the annotation makes new queries of them."""
    laps = numbers()
    keys = ((lap, pk) for lap in laps for pk in range(1, POSTS + 1))

    def once() -> Any:
        lap, pk = next(keys)
        return contender.value(
            f"post:{lap}:{pk}", lambda: Post.objects.filter(views__gt=-lap - 1).get(pk=pk)
        )

    return Call(once)


def miss_20(contender: Contender) -> Call:
    bounds = numbers(1)

    def once() -> Any:
        bound = next(bounds)
        author = 1 + bound % AUTHORS
        return contender.value(
            f"newest:{author}:{bound}",
            lambda: list(
                Post.objects.filter(author_id=author, is_public=True, views__gt=-bound).order_by(
                    "-published_at"
                )[:20]
            ),
        )

    return Call(once)


def _hit(contender: Contender, once: Any, keys: int) -> Call:
    return Call(once, warm_up=keys, is_hit=contender.caches)
