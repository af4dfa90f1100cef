"""Probes: one look through one layer each, which tells whether the layer answered from its store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.template.loader import render_to_string
from django.test import Client, RequestFactory

from atlas import figures, newsroom
from atlas.models import Airport, City
from atlas.views import exports
from django_layercache import no_cache, trace
from showcase.subjects import Subjects
from strip.middleware import NO_STRIP

#: How long a store may distrust itself after it was made (its grace), with some to spare, in seconds.
PATIENCE = 6.0


@dataclass(frozen=True)
class Probe:
    """A way to look at the site. `layer` is the one whose answer counts, `look` returns something comparable."""

    kind: str
    name: str
    layer: str
    look: Callable[[], Any]


@dataclass(frozen=True)
class Sight:
    """What one look saw: the answer, and how the probe's own layer came by it."""

    answer: Any
    outcome: str
    reason: str


def look(probe: Probe) -> Sight:
    """Look once."""
    with trace() as events:
        answer = probe.look()
    own = [event for event in events if event.layer == probe.layer]
    if not own:
        return Sight(answer, "bypass", "the layer was not asked")
    return Sight(answer, own[-1].outcome, own[-1].reason)  # the outermost is told last


def look_past_caches(probe: Probe) -> Any:
    """The answer with caching off."""
    with no_cache():
        return probe.look()


def warm(probe: Probe) -> bool:
    """Look until the layer answers from its store. False if it never does."""
    deadline = time.monotonic() + PATIENCE
    while look(probe).outcome != "hit":
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def new_client() -> Client:
    """A visitor who sees the pages without a strip, so that equal pages are equal byte for byte."""
    return Client(SERVER_NAME="localhost", **{NO_STRIP: "1"})


def all_probes(subjects: Subjects) -> list[Probe]:
    """At least one probe for each layer: some close to what will be edited, some far from it."""
    edited, untouched, collection = subjects.edited, subjects.untouched, subjects.collection
    return [
        page("front page", "/"),
        page("list of the country", f"/airports/?country={subjects.country.pk}"),
        page(f"airport {edited.pk}", edited.get_absolute_url()),
        page(f"airport {untouched.pk}", untouched.get_absolute_url()),
        page("collection", collection.get_absolute_url()),
        page("countries", "/countries/"),
        view("world map", exports.world_map),
        view(f"JSON of {edited.pk}", lambda request: exports.airport_json(request, edited.pk)),
        view(
            f"JSON of {untouched.pk}", lambda request: exports.airport_json(request, untouched.pk)
        ),
        function(f"rating of {edited.pk}", lambda: figures.rating_of(edited.pk)),
        function("totals", figures.totals),
        function("heights (async)", async_to_sync(figures.heights)),
        function("editors’ pick", newsroom.editors_pick),
        fragment(
            "most airports",
            "_top_countries",
            dict,
        ),
        fragment(f"close to {edited.pk}", "_nearby", lambda: nearby(edited)),
        fragment(f"close to {untouched.pk}", "_nearby", lambda: nearby(untouched)),
        queryset(f"airport {edited.pk}", lambda: Airport.objects.filter(pk=edited.pk)),
        queryset(f"airport {untouched.pk}", lambda: Airport.objects.filter(pk=untouched.pk)),
        queryset("of the collection", collection.airports.all),
        queryset("largest cities", lambda: City.objects.all()[:20]),
    ]


def page(name: str, url: str) -> Probe:
    """A page for a visitor, through the site's middleware."""
    client = new_client()

    def fetch() -> tuple[int, bytes]:
        response = client.get(url)
        return response.status_code, response.content

    return Probe("page", name, "pages", fetch)


def view(name: str, call: Callable[[Any], Any]) -> Probe:
    """A view behind `@cache_view`, called without any middleware."""
    factory = RequestFactory(SERVER_NAME="localhost")

    def fetch() -> tuple[int, bytes]:
        response = call(factory.get(f"/probe/{name}"))
        return response.status_code, response.content

    return Probe("view", name, "pages", fetch)


def function(name: str, call: Callable[[], Any]) -> Probe:
    """A function behind `@cached`."""
    return Probe("function", name, "functions", call)


def fragment(name: str, template: str, context: Callable[[], dict[str, Any]]) -> Probe:
    """A template whose whole content is one `{% layercache %}`."""
    return Probe(
        "fragment", name, "fragments", lambda: render_to_string(f"atlas/{template}.html", context())
    )


def queryset(name: str, ask: Callable[[], Any]) -> Probe:
    """A queryset that asks to be cached."""
    return Probe("queryset", name, "querysets", lambda: list(ask().cached().values()))


def nearby(airport: Airport) -> dict[str, Any]:
    """What the fragment of close airports needs."""
    return {"airport": airport, "nearby": Airport.objects.filter(pk__in=airport.nearest)}
