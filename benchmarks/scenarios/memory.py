"""What an entry takes, bookkeeping included: of the process where it is kept there, else of the Redis server."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

from django.conf import settings

from benchmarks.blog.models import Post
from benchmarks.blog.seed import AUTHORS
from benchmarks.contenders import Contender

#: By how many rows an entry has. (Tracing makes everything slow.)
ENTRIES = {"1 row": 300, "20 rows": 100}


def _one(contender: Contender, number: int) -> Any:
    return contender.value(f"memory:1:{number}", lambda: Post.objects.get(pk=number))


def _twenty(contender: Contender, number: int) -> Any:
    posts = Post.objects.filter(author_id=1 + number % AUTHORS, views__gt=-number - 1)
    return contender.value(f"memory:20:{number}", lambda: list(posts.order_by("pk")[:20]))


KINDS: dict[str, Callable[[Contender, int], Any]] = {"1 row": _one, "20 rows": _twenty}


def bytes_per_entry(contender: Contender, kind: str) -> float:
    """The growth, divided by the number of entries."""
    ask, entries = KINDS[kind], ENTRIES[kind]
    measure = _redis if settings.ASSIGNMENT["store"] == "redis" else _process
    return measure(lambda: [ask(contender, n) for n in range(1, entries + 1)]) / entries


def _redis(fill: Callable[[], Any]) -> float:
    import redis

    client = redis.Redis.from_url(settings.ASSIGNMENT["redis"])
    before = _size(client)
    fill()
    return _size(client) - before


def _size(client: Any) -> int:
    """Of all keys of this database. (``used_memory`` is of all databases, buffers and what is being freed.)"""
    sizes = client.pipeline(transaction=False)
    for key in client.scan_iter(count=1000):
        sizes.memory_usage(key, samples=0)
    return sum(sizes.execute())


def _process(fill: Callable[[], Any]) -> float:
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        fill()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
