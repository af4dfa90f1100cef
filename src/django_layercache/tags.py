"""The names of tags: one grammar for all layers.

=====================  ==============================================================
``<db>:``              everything in a database
``<db>:<table>``       the *epoch* of a table: rows changed, nobody knows which
``<db>:<table>#*``     any row of it
``<db>:<table>#pk=5``  one row
``#weather``           a name of the user's
``()<function>…``      a cached function, or one call of it
=====================  ==============================================================

``<db>`` is eight hexadecimal digits that stand for a database's *content*, not for its alias.
Tables are compared without case and without schema: two tables that differ in no more are
invalidated together, which is safe.

Who changes what, and who depends on what:

- a write of unknown rows changes the epoch and "any row";
- a write of known rows changes "any row" and those rows;
- a read that is bound to rows depends on the epoch and those rows;
- any other read depends on "any row";
- and every read depends on its database.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "any_row",
    "collapsed",
    "database",
    "epoch",
    "is_of_database",
    "named",
    "readable",
    "row",
    "table_name",
]

_DATABASE = re.compile(r"^[0-9a-f]{8}:(?=.)")


def database(db: str) -> str:
    """Everything in the database *db*."""
    return f"{db}:"


def epoch(db: str, table: str) -> str:
    """Rows of *table* changed, and nobody knows which."""
    return f"{db}:{table_name(table)}"


def any_row(db: str, table: str) -> str:
    """A row of *table* changed, appeared or went."""
    return f"{db}:{table_name(table)}#*"


def row(db: str, table: str, key: str) -> str:
    """The row of *table* with the primary key *key*, in its canonical spelling."""
    return f"{db}:{table_name(table)}#pk={key}"


def collapsed(tags: Iterable[str]) -> set[str]:
    """*tags* with the epoch of its table in place of each row: fewer, and never less."""
    return {tag.partition("#pk=")[0] if _DATABASE.match(tag) else tag for tag in tags}


def named(name: str) -> str:
    """A tag of the user's."""
    return f"#{name}"


@lru_cache(maxsize=4096)
def table_name(table: str) -> str:
    """*table* as it stands in tags. ``"schema"."table"`` is its last part."""
    last = re.split(r"[\"`\]]\s*\.\s*[\"`\[]", table)[-1].strip('"`[]')
    return last.lower().replace("%", "%25").replace("#", "%23").replace(":", "%3a")


def is_of_database(tag: str, db: str) -> bool:
    """Whether *tag* names something in the database *db*."""
    return tag.startswith(f"{db}:")


def readable(tags: Iterable[str]) -> tuple[str, ...]:
    """*tags* as a person wants to see them: without the digits of the database."""
    return tuple(
        "(database)" if tag.endswith(":") else _DATABASE.sub("", tag).removeprefix("#")
        for tag in tags
    )
