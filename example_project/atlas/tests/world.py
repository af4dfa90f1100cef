"""A world small enough for a test: three countries, a dozen airports, three members."""

from __future__ import annotations

from datetime import UTC, datetime

from atlas.models import Airport, City, Collection, Continent, Country, Member, Review


def build() -> None:
    """Fill the database."""
    europe = Continent.objects.create(code="EU", name="Europe")
    for code, name, base in (
        ("AT", "Austria", 10.0),
        ("NO", "Norway", 20.0),
        ("PT", "Portugal", 30.0),
    ):
        country = Country.objects.create(
            code=code, name=name, continent=europe, capital=f"Capital of {name}"
        )
        city = City.objects.create(
            country=country, name=f"{name} City", population=90_000, latitude=base, longitude=base
        )
        _airports(country, city, base)
    members = [Member.objects.create_user(name) for name in ("ann", "ben", "eve")]
    Member.objects.filter(username="ann").update(is_staff=True, is_superuser=True)
    _opinions(members)


def _airports(country: Country, city: City, base: float) -> None:
    codes = [f"{country.code}{number:02}" for number in range(4)]
    for number, code in enumerate(codes):
        Airport.objects.create(
            code=code,
            iata=f"{country.code}{number}",
            name=f"{country.name} Field {number}",
            country=country,
            city=city,
            municipality=city.name,
            elevation_ft=number * 700,
            latitude=base + number,
            longitude=base,
            nearest=[other for other in codes if other != code],
        )


def _opinions(members: list[Member]) -> None:
    written = datetime(2026, 1, 1, tzinfo=UTC)
    for airport in ("AT00", "AT01", "NO00", "PT00"):
        for author in members[1:]:
            Review.objects.create(
                airport_id=airport,
                author=author,
                rating=4,
                text=f"Fine, {airport}.",
                created=written,
            )
    collection = Collection.objects.create(owner=members[0], name="To see", about="One day.")
    collection.airports.set(["PT01", "PT02"])
