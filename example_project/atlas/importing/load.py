"""The import itself: everything or nothing, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from django.db import models, transaction

from atlas import geography
from atlas.importing import invented, sources
from atlas.models import Airport, City, Collection, Continent, Country, Member, Review

M = TypeVar("M", bound=models.Model)

#: Told what is being imported, how many are done and how many there are.
Progress = Callable[[str, int, int], None]

BATCH = 2000
NEIGHBOURS = 6


def is_imported() -> bool:
    """Whether there is anything to do. An import that was interrupted has left nothing behind."""
    return Airport.objects.exists()


@transaction.atomic
def load(progress: Progress) -> None:
    """Import everything into an empty database."""
    world = _load_places(progress)
    _load_members(world, progress)


@transaction.atomic
def unload() -> None:
    """Delete all that the import and the members have written."""
    for model in (Review, Collection, Airport, City, Country, Continent, Member):
        model._default_manager.all().delete()


def _load_places(progress: Progress) -> list[Airport]:
    continents = _create(Continent, sources.continents(), "continents", progress)
    by_continent = {continent.code: continent for continent in continents}
    countries = _create(Country, sources.countries(by_continent), "countries", progress)
    by_code = {country.code: country for country in countries}
    _create(Country.neighbours.through, sources.neighbours(by_code), "borders", progress)
    cities = _create(City, sources.cities(by_code), "cities", progress)
    airports = list(sources.airports(by_code, sources.city_index(cities)))
    _find_neighbours(airports, progress)
    return _create(Airport, airports, "airports", progress)


def _load_members(airports: list[Airport], progress: Progress) -> None:
    members = _create(Member, invented.members(), "members", progress)
    _create(Review, invented.reviews(members[1:], airports), "reviews", progress)
    lists = invented.collections(members, airports)
    _create(Collection, [collection for collection, _ in lists], "collections", progress)
    through = Collection.airports.through
    _create(
        through,
        [
            through(collection_id=collection.pk, airport_id=airport.pk)
            for collection, chosen in lists
            for airport in chosen
        ],
        "collected airports",
        progress,
    )


def _find_neighbours(airports: Sequence[Airport], progress: Progress) -> None:
    points = [(airport.code, airport.latitude, airport.longitude) for airport in airports]
    found = geography.nearest(points, NEIGHBOURS)
    for done, (airport, (_, close)) in enumerate(zip(airports, found, strict=True), start=1):
        airport.nearest = close
        if done % BATCH == 0 or done == len(airports):
            progress("neighbours", done, len(airports))


def _create(model: type[M], rows: Sequence[M], what: str, progress: Progress) -> list[M]:
    created: list[M] = []
    for batch in _batches(rows):
        created += model._default_manager.bulk_create(batch)
        progress(what, len(created), len(rows))
    return created


def _batches(rows: Sequence[Any]) -> Iterator[Iterable[Any]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
