"""The list of the timed scenarios, without Django: the main process reads it, too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """One scenario, ready for one contender.

    *once* is what is timed. The worker calls it *warm_up* times before. *tidy* runs after each
    round, outside the clock. *is_hit*: it must run no query when it is warm.
    """

    once: Callable[[], Any]
    warm_up: int = 3
    tidy: Callable[[], Any] = lambda: None
    is_hit: bool = False


@dataclass(frozen=True)
class Timed:
    """A scenario's line in the tables. *where* is the function that prepares it."""

    name: str
    title: str
    group: str
    where: str


#: In the order of the tables.
TIMED = [
    Timed("get", "get by primary key", "querysets", "querysets.get"),
    Timed("list_20", "20 rows, filtered, in order", "querysets", "querysets.list_20"),
    Timed("list_100", "100 rows, two tables joined", "querysets", "querysets.list_100"),
    Timed("count", "count()", "querysets", "querysets.count"),
    Timed("aggregate", "aggregate()", "querysets", "querysets.aggregate"),
    Timed("function", "function", "layers", "layers.function"),
    Timed("fragment", "template fragment", "layers", "layers.fragment"),
    Timed("view", "page, by a decorator of the view", "layers", "layers.view"),
    Timed("site", "page, by the middleware", "layers", "layers.site"),
    Timed("miss_get", "get by primary key", "misses", "querysets.miss_get"),
    Timed("miss_20", "20 rows, filtered, in order", "misses", "querysets.miss_20"),
    Timed("save", "save(), autocommit", "writes", "writes.save"),
    Timed("save_atomic", "save(), in atomic()", "writes", "writes.save_atomic"),
    Timed("bulk_create", "bulk_create() of 100", "writes", "writes.bulk_create"),
    Timed("update", "update() of 80 rows", "writes", "writes.update"),
    Timed("raw_update", "UPDATE by a cursor", "writes", "writes.raw_update"),
]

GROUPS = {
    "querysets": "Querysets, hit",
    "layers": "Other layers, hit",
    "misses": "Querysets, missed",
    "writes": "Writes",
}
RATIOS = (
    "n×: of hits and misses, n times as fast as plain Django; of writes, n times as long as plain "
    "Django takes. ±: half of the distance between the quartiles of the rounds."
)

#: How many ask at once, and how long the query takes.
STAMPEDE = {"threads": 20, "seconds": 0.1}
