"""How long each page and each layer takes: with caching off, cold, and warm. Medians, in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth import SESSION_KEY
from django.test import Client

from atlas import figures, newsroom
from atlas.models import Airport, City, Collection, Continent, Country, Member, Review
from atlas.views import exports, search
from django_layercache import cached_queries, invalidate, no_cache
from showcase import probes
from showcase.subjects import Subjects

#: Warm answers are so short that one alone cannot be measured well.
WARM_REPEATS = 5


@dataclass(frozen=True)
class Task:
    """Something to be timed."""

    kind: str
    name: str
    do: Callable[[], Any]


@dataclass(frozen=True)
class Timing:
    """What one task took, in milliseconds: with caching off, when nothing usable was stored, and when it was."""

    task: Task
    off: float
    cold: float
    warm: float

    @property
    def ratio(self) -> float:
        """How many times faster a warm answer is than one with caching off."""
        return self.off / self.warm if self.warm else 0.0


Progress = Callable[[], None]


def everything_changed() -> None:
    """Make every entry unreachable, the way an edit of everything would."""
    invalidate(
        *(
            Airport,
            City,
            Collection,
            Collection.airports.through,
            Continent,
            Country,
            Member,
            Review,
        ),
        *(newsroom.ANNOUNCEMENT, newsroom.EDITORS_PICK),
    )


def measure(tasks: list[Task], runs: int, progress: Progress) -> list[Timing]:
    """Time all tasks, `runs` times each way.

    The three ways take turns: should the machine be busy with something else for a while, it is so for all of them.
    """
    probes.warm(
        probes.function("totals", figures.totals)
    )  # a store that is new distrusts itself for its grace
    return [_measure(task, runs, progress) for task in tasks]


def _measure(task: Task, runs: int, progress: Progress) -> Timing:
    task.do()  # the first of all compiles templates
    rounds = [_round(task.do) for _ in range(runs)]
    progress()
    off, cold, warm = (median(times) for times in zip(*rounds, strict=True))
    return Timing(task, off, cold, warm)


def _round(do: Callable[[], Any]) -> tuple[float, float, float]:
    with no_cache():
        off = _time(do)
    everything_changed()
    return off, _time(do), median(_time(do) for _ in range(WARM_REPEATS))


def _time(do: Callable[[], Any]) -> float:
    started = time.perf_counter()
    do()
    return (time.perf_counter() - started) * 1000


def page_tasks(subjects: Subjects, client: Client) -> list[Task]:
    """The pages of the site, as `client` sees them."""
    edited, country = subjects.edited, subjects.country
    urls = {
        "front page": "/",
        "all airports": "/airports/",
        "with a filter": f"/airports/?country={country.pk}&scheduled=on&order=-elevation_ft",
        "an airport": edited.get_absolute_url(),
        "search": "/search/?q=san",
        "countries": "/countries/",
        "a country": country.get_absolute_url(),
        "numbers": "/numbers/",
        "a collection": subjects.collection.get_absolute_url(),
    }
    return [Task("page", name, lambda url=url: _fetch(client, url)) for name, url in urls.items()]


def _fetch(client: Client, url: str) -> None:
    response = client.get(url)
    if response.status_code != 200:
        raise RuntimeError(f"{url} answered {response.status_code}")


def layer_tasks(subjects: Subjects) -> list[Task]:
    """One of each layer alone, without what is around it on a page."""
    edited = subjects.edited
    found = [
        probes.view("world map", exports.world_map),
        probes.view(
            f"JSON of {edited.pk}", lambda request: exports.airport_json(request, edited.pk)
        ),
        probes.function("world_dots()", figures.world_dots),
        probes.function(f"rating_of({edited.pk!r})", lambda: figures.rating_of(edited.pk)),
        probes.function("await heights()", async_to_sync(figures.heights)),
        probes.fragment(
            "most airports",
            "_top_countries",
            dict,
        ),
        probes.fragment("close by", "_nearby", lambda: probes.nearby(edited)),
        probes.queryset("one airport", lambda: Airport.objects.filter(pk=edited.pk)),
        probes.queryset("1000 cities", lambda: City.objects.all()[:1000]),
        probes.queryset("best rated", figures.top_rated),
    ]
    tasks = [Task(probe.kind, probe.name, probe.look) for probe in found]
    return [*tasks, Task("block", "cached_queries(): search", _search)]


def _search() -> None:
    with cached_queries(timeout=60):
        for question in search.questions("san").values():
            list(question)


@contextmanager
def logged_in(member: Member) -> Iterator[Client]:
    """A client whose member is logged in; the session is deleted afterwards."""
    client = probes.new_client()
    client.force_login(member)
    try:
        yield client
    finally:
        if SESSION_KEY in client.session:
            client.session.flush()
