"""What the experiments are done with, chosen from whatever is in the database now."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count

from atlas.models import Airport, Collection, Country, Member


class NothingToShow(Exception):
    """The database lacks what the experiments need."""

    def __init__(self) -> None:
        super().__init__("There is too little data. Fill it anew: manage.py import_atlas --again")


@dataclass(frozen=True)
class Subjects:
    """One of each. The airports are in different countries: nothing on the page of one is about another."""

    edited: Airport
    untouched: Airport
    doomed: Airport
    country: Country
    collection: Collection
    author: Member

    @classmethod
    def choose(cls) -> Subjects:
        """Pick the fullest collection and, outside of it, the most reviewed airports, one to a country."""
        collection = (
            Collection.objects.annotate(n=Count("airports"))
            .filter(n__gt=0)
            .order_by("-n", "pk")
            .first()
        )
        edited, untouched = _most_reviewed(collection)
        elsewhere = {edited.country_id, untouched.country_id}
        doomed = (
            collection.airports.exclude(country__in=elsewhere).order_by("code").first()
            if collection
            else None
        )
        author = Member.objects.exclude(reviews__airport=edited).order_by("pk").first()
        if collection is None or doomed is None or author is None:
            raise NothingToShow
        return cls(edited, untouched, doomed, edited.country, collection, author)


def _most_reviewed(outside: Collection | None) -> tuple[Airport, Airport]:
    rated = (
        Airport.objects.select_related("country")
        .exclude(collections=outside)
        .annotate(n=Count("reviews"))
    )
    by_country: dict[str, Airport] = {}
    for airport in rated.filter(n__gte=2).order_by("-n", "code")[:100]:
        by_country.setdefault(airport.country_id, airport)
    if len(by_country) < 2:
        raise NothingToShow
    edited, untouched, *_ = by_country.values()
    return edited, untouched
