"""What one write costs when many entries depend on it."""

from itertools import count as numbers
from time import perf_counter_ns

from django.db.models import F

from benchmarks.blog.models import Post
from benchmarks.contenders import Contender

_AUTHOR = 7
_fresh = numbers(1)


def applies(contender: Contender) -> bool:
    """Who invalidates nothing has nothing to measure, except for the price of the write itself."""
    return contender.name == "plain" or contender.caches_querysets


def fill(contender: Contender, entries: int) -> None:
    """Store *entries* results that depend on one author's posts. (They are empty: that fills quickly.)"""
    if contender.caches:
        for _ in range(entries):
            bound = 10**8 + next(_fresh)
            list(Post.objects.filter(author_id=_AUTHOR, views__gt=bound).values_list("pk"))


def write() -> float:
    """Change one of the posts; returns seconds."""
    post = Post.objects.filter(author_id=_AUTHOR).annotate(nothing=F("pk") + next(_fresh)).first()
    post.views += 1
    begin = perf_counter_ns()
    post.save()
    return (perf_counter_ns() - begin) / 1e9
