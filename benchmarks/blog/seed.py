"""The same rows at every run."""

import random
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.db import transaction

from benchmarks.blog.models import Author, Category, Comment, Post

AUTHORS, CATEGORIES, POSTS, COMMENTS = 50, 10, 4000, 8000
_WORDS = (
    "the of a to cache row page stale fresh token mark commit read write store layer tag".split()
)
_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


@transaction.atomic
def seed() -> dict[str, int]:
    """Fill the empty tables; returns how many rows each of them has."""
    dice = random.Random(5)
    Author.objects.bulk_create(
        Author(pk=i, name=f"Author {i}", joined=date(2020, 1, 1) + timedelta(days=i))
        for i in range(1, AUTHORS + 1)
    )
    Category.objects.bulk_create(
        Category(pk=i, name=f"Category {i}", slug=f"category-{i}") for i in range(1, CATEGORIES + 1)
    )
    Post.objects.bulk_create([_post(i, dice) for i in range(1, POSTS + 1)], batch_size=500)
    Comment.objects.bulk_create([_comment(i, dice) for i in range(1, COMMENTS + 1)], batch_size=500)
    return {model.__name__: model.objects.count() for model in (Author, Category, Post, Comment)}


def _text(dice: random.Random, words: int) -> str:
    return " ".join(dice.choice(_WORDS) for _ in range(words))


def _post(i: int, dice: random.Random) -> Post:
    return Post(
        author_id=1 + i % AUTHORS,
        category_id=1 + i // AUTHORS % CATEGORIES,
        title=f"Post {i}: {_text(dice, 5)}",
        body=_text(dice, 60),
        reference=uuid.UUID(int=dice.getrandbits(128), version=4),
        published_at=_BEGIN + timedelta(minutes=37 * i, microseconds=dice.randrange(10**6)),
        rating=Decimal(dice.randrange(100, 500)) / 100,
        views=dice.randrange(10_000),
        subtitle=None if i % 3 else _text(dice, 4),
    )


def _comment(i: int, dice: random.Random) -> Comment:
    return Comment(
        post_id=1 + i % POSTS,
        author=f"Reader {i % 500}",
        text=_text(dice, 25),
        written_at=_BEGIN + timedelta(minutes=19 * i),
    )
