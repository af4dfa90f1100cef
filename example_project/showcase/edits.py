"""An edit of each kind, each with a way back. None of them says what has to be rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from atlas import newsroom
from atlas.models import Airport, Collection, Country, Review
from showcase.subjects import Subjects


@dataclass(frozen=True)
class Edit:
    """Something that a site does all day. `done()` has it done inside its block, and undone after it.

    `changes` are probes whose answer it is known to change: were they the same, nothing would have been edited.
    """

    slug: str
    title: str
    code: str
    done: Callable[[], AbstractContextManager[None]]
    changes: tuple[str, ...] = ()


def all_edits(subjects: Subjects) -> list[Edit]:
    """The edits, in the order in which they are shown."""
    airport, untouched, doomed, collection = (
        subjects.edited.pk,
        subjects.untouched.pk,
        subjects.doomed.pk,
        subjects.collection,
    )
    return [
        Edit(
            "save",
            "Save one airport",
            f'airport = Airport.objects.get(pk="{airport}"); airport.name = …; airport.save()',
            lambda: saved(airport),
            (f"page airport {airport}", f"queryset airport {airport}", f"view JSON of {airport}"),
        ),
        Edit(
            "update-row",
            "Update one row by its key",
            f'Airport.objects.filter(pk="{airport}").update(elevation_ft=…)',
            lambda: updated(airport),
            (f"page airport {airport}", f"queryset airport {airport}"),
        ),
        Edit(
            "update-bulk",
            "Update many rows at once",
            f'Airport.objects.filter(country="{subjects.country.pk}").update(elevation_ft=F("elevation_ft") + 5000)',
            lambda: raised(subjects.country),
            (f"page airport {airport}", "page list of the country", "function heights (async)"),
        ),
        Edit(
            "create",
            "Write a review",
            f'Review.objects.create(airport_id="{airport}", …)',
            lambda: reviewed(subjects),
            (f"page airport {airport}", f"function rating of {airport}", "function totals"),
        ),
        Edit(
            "m2m",
            "Add to a many-to-many relation",
            f'collection.airports.add("{untouched}")',
            lambda: collected(collection, untouched),
            ("page collection", "queryset of the collection", f"page airport {untouched}"),
        ),
        Edit(
            "delete",
            "Delete, with all that hangs on it",
            f'Airport.objects.get(pk="{doomed}").delete()',
            lambda: deleted(doomed),
            ("page collection", "queryset of the collection", "function totals"),
        ),
        Edit(
            "raw",
            "Raw SQL",
            f"cursor.execute(\"UPDATE atlas_airport SET name = … WHERE code = '{airport}'\")",
            lambda: written_in_sql(airport),
            (f"page airport {airport}", f"queryset airport {airport}"),
        ),
        Edit(
            "rollback",
            "Save, then roll back",
            "with transaction.atomic(): airport.save(); transaction.set_rollback(True)",
            lambda: rolled_back(airport),
        ),
        Edit(
            "pick",
            "Another editors’ pick",
            'newsroom.pick(…)  # a file, then invalidate("editors-pick")',
            lambda: picked(airport, untouched),
            ("page front page", "function editors’ pick"),
        ),
        Edit(
            "announce",
            "A new announcement",
            'newsroom.announce(…)  # a file, then invalidate("announcement")',
            announced,
            ("page front page", "page countries"),
        ),
    ]


@contextmanager
def saved(pk: str) -> Iterator[None]:
    """A plain `save()`."""
    airport = Airport.objects.get(pk=pk)
    before = airport.name
    airport.name = f"{before} (renamed)"
    airport.save()
    try:
        yield
    finally:
        airport.name = before
        airport.save()


@contextmanager
def updated(pk: str) -> Iterator[None]:
    """`update()` sends no signal."""
    before = Airport.objects.get(pk=pk).elevation_ft
    Airport.objects.filter(pk=pk).update(elevation_ft=before + 1)
    try:
        yield
    finally:
        Airport.objects.filter(pk=pk).update(elevation_ft=before)


@contextmanager
def raised(country: Country) -> Iterator[None]:
    """Many rows, whose keys nobody looked up."""
    airports = Airport.objects.filter(country=country)
    airports.update(elevation_ft=F("elevation_ft") + 5000)
    try:
        yield
    finally:
        airports.update(elevation_ft=F("elevation_ft") - 5000)


@contextmanager
def reviewed(subjects: Subjects) -> Iterator[None]:
    """A new row in another table."""
    review = Review.objects.create(
        airport=subjects.edited,
        author=subjects.author,
        rating=1,
        text="An experiment.",
        created=timezone.now(),
    )
    try:
        yield
    finally:
        review.delete()


@contextmanager
def collected(collection: Collection, pk: str) -> Iterator[None]:
    """Only the table in between changes."""
    collection.airports.add(pk)
    try:
        yield
    finally:
        collection.airports.remove(pk)


@contextmanager
def deleted(pk: str) -> Iterator[None]:
    """The reviews and the places in collections go, too."""
    airport, reviews = Airport.objects.get(pk=pk), list(Review.objects.filter(airport=pk))
    through = Collection.airports.through
    places = list(through.objects.filter(airport=pk))
    Airport.objects.get(pk=pk).delete()
    try:
        yield
    finally:
        with transaction.atomic():
            Airport.objects.bulk_create([airport])
            Review.objects.bulk_create(reviews)
            through.objects.bulk_create(places)


@contextmanager
def written_in_sql(pk: str) -> Iterator[None]:
    """A statement that no model knows of."""
    before = Airport.objects.get(pk=pk).name
    _set_name(pk, f"{before} (by hand)")
    try:
        yield
    finally:
        _set_name(pk, before)


def _set_name(pk: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE atlas_airport SET name = %s WHERE code = %s", [name, pk])


@contextmanager
def rolled_back(pk: str) -> Iterator[None]:
    """Written, and never committed."""
    airport = Airport.objects.get(pk=pk)
    airport.name = "Never to be seen"
    with transaction.atomic():
        airport.save()
        transaction.set_rollback(True)
    yield


@contextmanager
def picked(*codes: str) -> Iterator[None]:
    """A file outside of the database, and a tag with a name."""
    before = newsroom.editors_pick()
    newsroom.pick(next(code for code in codes if code != before))
    try:
        yield
    finally:
        newsroom.pick(before)


@contextmanager
def announced() -> Iterator[None]:
    """The other file."""
    before = newsroom.announcement()
    newsroom.announce("Runway 08/26 is closed for an experiment.")
    try:
        yield
    finally:
        newsroom.announce(before)
