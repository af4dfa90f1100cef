"""Answers that are not HTML: the map, one airport as JSON, all of them as CSV."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404

from atlas import figures
from atlas.models import Airport
from django_layercache import cache_view

CSV_FIELDS = [
    "code",
    "iata",
    "name",
    "country__code",
    "municipality",
    "elevation_ft",
    "latitude",
    "longitude",
]


@cache_view(timeout=3600)
def world_map(request: HttpRequest) -> HttpResponse:
    """All airports as a dotted map of the world. The same for everybody, and asked for by every page."""
    rings: dict[float, list[str]] = defaultdict(list)
    for x, y, radius in figures.world_dots():
        rings[radius].append(f"M{x:g} {y:g}h0")
    paths = "".join(
        f'<path d="{"".join(dots)}" stroke-width="{2 * radius:g}"/>'
        for radius, dots in rings.items()
    )
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 165">'
        f'<g fill="none" stroke="#000" stroke-linecap="round">{paths}</g></svg>'
    )
    return HttpResponse(svg, content_type="image/svg+xml")


@cache_view
def airport_json(request: HttpRequest, code: str) -> HttpResponse:
    """One airport for machines."""
    fields = [
        "code",
        "iata",
        "name",
        "municipality",
        "region",
        "elevation_ft",
        "latitude",
        "longitude",
        "timezone",
    ]
    found = get_object_or_404(Airport.objects.select_related("country").cached(), code=code)
    return JsonResponse(
        {name: getattr(found, name) for name in fields} | {"country": found.country.code}
    )


def airports_csv(request: HttpRequest) -> StreamingHttpResponse:
    """All airports, streamed: an answer without an end in sight is never cached."""

    class Line:
        """What the CSV writer writes to: hands each line straight on."""

        def write(self, line: str) -> str:
            return line

    def lines() -> Iterator[str]:
        writer = csv.writer(Line())
        yield writer.writerow(CSV_FIELDS)
        for row in Airport.objects.order_by("code").values_list(*CSV_FIELDS).iterator():
            yield writer.writerow(row)

    answer = StreamingHttpResponse(lines(), content_type="text/csv")
    answer["Content-Disposition"] = 'attachment; filename="airports.csv"'
    return answer
