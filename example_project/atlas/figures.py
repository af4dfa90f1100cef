"""Functions whose values are worth keeping. What they depend on is what they read: nobody lists it here."""

from __future__ import annotations

from typing import Any, TypedDict

from django.db.models import Avg, Count, Max, Min, Q, QuerySet

from atlas import geography
from atlas.models import Airport, City, Country, Review
from django_layercache import cached

#: Reviews that an airport needs before it can be among the best.
ENOUGH_REVIEWS = 5

STEP_FT = 1000
HIGHEST_STEP_FT = 9000


@cached(timeout=3600)
def world_dots() -> list[tuple[float, float, float]]:
    """All airports as the dots of a world map: see `geography.dots`."""
    return geography.dots(Airport.objects.order_by().values_list("latitude", "longitude"))


@cached
def rating_of(code: str) -> tuple[float | None, int]:
    """Mean rating of one airport (None without reviews) and the number of its reviews."""
    found = Review.objects.filter(airport=code).aggregate(mean=Avg("rating"), count=Count("pk"))
    return found["mean"], found["count"]


@cached
def totals() -> dict[str, int]:
    """How much there is of everything."""
    return {
        "airports": Airport.objects.count(),
        "countries": Country.objects.count(),
        "cities": City.objects.count(),
        "reviews": Review.objects.count(),
    }


class Band(TypedDict):
    """One bar of the histogram of heights."""

    label: str
    count: int
    percent: float


@cached(timeout=900)
async def heights() -> list[Band]:
    """How many airports there are in each thousand feet, as bars relative to the longest."""
    bounds = range(0, HIGHEST_STEP_FT + 1, STEP_FT)
    counted = await Airport.objects.aaggregate(
        below=Count("pk", filter=Q(elevation_ft__lt=0)),
        **{f"from_{low}": Count("pk", filter=_between(low)) for low in bounds},
    )
    named = [
        ("below sea level", counted["below"]),
        *((_label(low), counted[f"from_{low}"]) for low in bounds),
    ]
    longest = max(count for _, count in named) or 1
    return [
        Band(label=label, count=count, percent=round(100 * count / longest, 1))
        for label, count in named
    ]


def _between(low: int) -> Q:
    above = Q(elevation_ft__gte=low)
    return above if low == HIGHEST_STEP_FT else above & Q(elevation_ft__lt=low + STEP_FT)


def _label(low: int) -> str:
    return (
        f"{low:,} ft and above" if low == HIGHEST_STEP_FT else f"{low:,} – {low + STEP_FT - 1:,} ft"
    )


@cached(timeout=900)
async def records() -> list[tuple[str, str, str, str]]:
    """The extremes: (what, value, airport's name, airport's code)."""
    extremes = await Airport.objects.aaggregate(
        highest=Max("elevation_ft"),
        lowest=Min("elevation_ft"),
        north=Max("latitude"),
        south=Min("latitude"),
    )
    questions: list[tuple[str, str, dict[str, Any]]] = [
        ("Highest", f"{extremes['highest']:,} ft", {"elevation_ft": extremes["highest"]}),
        ("Lowest", f"{extremes['lowest']:,} ft", {"elevation_ft": extremes["lowest"]}),
        ("Northernmost", f"{extremes['north']:.2f}°", {"latitude": extremes["north"]}),
        ("Southernmost", f"{extremes['south']:.2f}°", {"latitude": extremes["south"]}),
    ]
    answers = []
    for what, value, condition in questions:
        airport = await Airport.objects.filter(**condition).order_by("code").afirst()
        if airport is not None:
            answers.append((what, value, airport.name, airport.code))
    return answers


def top_rated(count: int = 8) -> QuerySet[Airport]:
    """The airports with the best mean rating. Lazy: a template fragment evaluates it when it has to be built."""
    return (
        Airport.objects.select_related("country")
        .annotate(mean_rating=Avg("reviews__rating"), review_count=Count("reviews"))
        .filter(review_count__gte=ENOUGH_REVIEWS)
        .order_by("-mean_rating", "-review_count", "code")[:count]
    )


def latest_reviews(count: int = 6) -> QuerySet[Review]:
    """The newest reviews. Lazy, too."""
    return Review.objects.select_related("airport", "author").order_by("-created", "-pk")[:count]


def countries_by_airports(count: int = 14) -> QuerySet[Country]:
    """The countries with the most airports. Lazy, too."""
    return Country.objects.annotate(airport_count=Count("airports")).order_by(
        "-airport_count", "name"
    )[:count]
