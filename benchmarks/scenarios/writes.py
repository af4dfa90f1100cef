"""Writes: what watching them costs.

Nothing depends on what is written here; what dependents cost is another table.
"""

from itertools import cycle
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from benchmarks.blog.models import Comment, Post
from benchmarks.blog.seed import AUTHORS, COMMENTS
from benchmarks.contenders import Contender
from benchmarks.scenarios.base import Call


def save(contender: Contender) -> Call | None:
    posts = _posts()

    def once() -> None:
        post = next(posts)
        post.views += 1
        post.save()

    return _written(contender, once)


def save_atomic(contender: Contender) -> Call | None:
    posts = _posts()

    def once() -> None:
        post = next(posts)
        post.views += 1
        with transaction.atomic():
            post.save()

    return _written(contender, once)


def bulk_create(contender: Contender) -> Call | None:
    now = timezone.now()

    def once() -> None:
        Comment.objects.bulk_create(
            [Comment(post_id=1, author="Bulk", text="many", written_at=now) for _ in range(100)]
        )

    def tidy() -> None:
        Comment.objects.filter(pk__gt=COMMENTS).delete()

    return _written(contender, once, tidy)


def update(contender: Contender) -> Call | None:
    authors = cycle(range(1, AUTHORS + 1))

    def once() -> None:
        Post.objects.filter(author_id=next(authors)).update(views=F("views") + 1)

    return _written(contender, once)


def raw_update(contender: Contender) -> Call | None:
    keys = cycle(range(1, 51))

    def once() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE blog_post SET views = views + 1 WHERE id = %s", [next(keys)])

    return _written(contender, once)


def _posts() -> Any:
    return cycle(list(Post.objects.filter(pk__lte=50)))


def _written(contender: Contender, once: Any, tidy: Any = lambda: None) -> Call | None:
    # The floor writes nothing, and Django's cache does not watch.
    return None if contender.name in {"floor", "django"} else Call(once, tidy=tidy)
