"""Members, reviews and collections. All of it is made up, from a fixed seed: the same in every import."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from django.contrib.auth.hashers import make_password

from atlas.models import Airport, Collection, Member, Review

SEED = 20
MEMBERS = 60
REVIEWED_AIRPORTS = 900
NEWEST = datetime(2026, 6, 30, 18, 0, tzinfo=UTC)

#: The log-in that the demo prints. Public on purpose: the demo listens on loopback only.
DEMO_USERNAME = "demo"
DEMO_PASSWORD = "windsock-demo"

FIRST = (
    *("Ada", "Bo", "Cleo", "Dario", "Edda", "Faro", "Gita", "Hugo", "Ines", "Jona"),
    *("Kaja", "Levi", "Mira", "Nilo", "Oona", "Pavel", "Quim", "Rhea", "Sami", "Tove"),
)
LAST = ("Aster", "Birk", "Corvo", "Dune", "Elm", "Fjord", "Gale", "Heath", "Isla")

OPENINGS = {
    5: [
        "Could hardly be better.",
        "My favourite stop on the whole trip.",
        "A joy from kerb to gate.",
    ],
    4: ["Good all round.", "Pleasant, with small flaws.", "Would happily come back."],
    3: ["Does what it has to.", "Neither good nor bad.", "Fine for a short stop."],
    2: ["Tired and slow.", "I expected more.", "Bring patience."],
    1: ["Avoid if you can.", "Everything took for ever.", "A long, cold wait."],
}
MIDDLES = [
    "The windsock told the truth and the tower was friendly.",
    "Security took {n} minutes in the morning.",
    "Coffee at the far end of the hall is the one to get.",
    "Fuel was dear, but the ramp crew came at once.",
    "There is a bench by the fence with the best view of the runway.",
    "The bus into town goes every {n} minutes.",
    "Signs are clear, walking distances are not.",
    "Crosswind on both days; the runway is in good shape.",
    "Not a single working socket in the waiting area.",
    "The terminal is small enough to see all of it from one chair.",
]
CLOSINGS = [
    "Next time I would stay a day longer.",
    "Come early.",
    "Bring a jacket.",
    "Recommended at sunset.",
    "",
]


def members() -> list[Member]:
    """The demo's own member, who may edit everything, and a crowd that cannot log in."""
    chance = random.Random(SEED)
    names = chance.sample([(first, last) for first in FIRST for last in LAST], MEMBERS)
    crowd = [
        Member(
            username=f"{first}.{last}".lower(),
            first_name=first,
            last_name=last,
            password=make_password(None),
        )
        for first, last in names
    ]
    return [demo_member(), *crowd]


def demo_member() -> Member:
    """The member of the demo, with the published password."""
    password = make_password(DEMO_PASSWORD)
    return Member(
        username=DEMO_USERNAME,
        first_name="Demo",
        password=password,
        is_staff=True,
        is_superuser=True,
    )


def reviews(authors: Sequence[Member], airports: Sequence[Airport]) -> list[Review]:
    """Some thousands of reviews, most of them for airports of large cities."""
    chance = random.Random(SEED)
    by_size = sorted(
        (
            airport
            for airport in airports
            if airport.iata and airport.city and "(" not in airport.name
        ),
        key=lambda airport: (-airport.city.population if airport.city else 0, airport.code),
    )
    return [
        _review(chance, author, airport, liking)
        for rank, airport in enumerate(by_size[:REVIEWED_AIRPORTS])
        for liking in [chance.uniform(1.6, 4.6)]
        for author in chance.sample(list(authors), chance.randint(1, 14 if rank < 150 else 4))
    ]


def _review(chance: random.Random, author: Member, airport: Airport, liking: float) -> Review:
    rating = max(1, min(5, round(chance.gauss(liking, 0.8))))
    sentences = [
        chance.choice(OPENINGS[rating]),
        *(
            text.format(n=chance.choice([10, 15, 20, 30, 45]))
            for text in chance.sample(MIDDLES, chance.randint(1, 3))
        ),
        chance.choice(CLOSINGS),
    ]
    created = NEWEST - timedelta(minutes=chance.randint(0, 3 * 365 * 24 * 60))
    return Review(
        airport=airport,
        author=author,
        rating=rating,
        text=" ".join(sentences).strip(),
        created=created,
    )


def collections(
    owners: Sequence[Member], airports: Sequence[Airport]
) -> list[tuple[Collection, list[Airport]]]:
    """Named lists, each worked out of the data, with the airports that belong to them."""
    return [
        (Collection(owner=owner, name=name, about=about), pick(airports))
        for owner, (name, about, pick) in zip(owners, LISTS, strict=False)
    ]


def _first(
    key: Callable[[Airport], float], count: int = 18
) -> Callable[[Sequence[Airport]], list[Airport]]:
    return lambda airports: sorted((each for each in airports if each.iata), key=key)[:count]


LISTS: list[tuple[str, str, Callable[[Sequence[Airport]], list[Airport]]]] = [
    (
        "To visit one day",
        "The demo member's own list: add an airport to it.",
        _first(lambda each: -each.latitude, 5),
    ),
    ("Thin air", "The highest runways with an IATA code.", _first(lambda each: -each.elevation_ft)),
    ("Below the sea", "Runways lower than the waves.", _first(lambda each: each.elevation_ft, 12)),
    ("Midnight sun", "As far north as a ticket takes you.", _first(lambda each: -each.latitude)),
    ("Roaring forties and beyond", "The southernmost.", _first(lambda each: each.latitude)),
    ("On the line", "Closest to the equator.", _first(lambda each: abs(each.latitude))),
    (
        "Where the day begins",
        "Closest to the date line.",
        _first(lambda each: -abs(each.longitude)),
    ),
    (
        "Zero and zero",
        "Closest to the Greenwich meridian.",
        _first(lambda each: abs(each.longitude)),
    ),
]
