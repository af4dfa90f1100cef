"""The names of tags: one grammar for all layers.

=======================  ============================================================
``<db>:``                everything in a database
``<db>:<table>``         the *epoch* of a table: rows changed, nobody knows which
``<db>:<table>#*``       any row of it
``<db>:<table>#pk=5``    one row
``<db>:<t>#post_id=7``   a *partition*: the rows that have a value in a declared column
``<db>:<t>#post_id=?``   rows changed, nobody knows of which of these partitions
``#weather``             a name of the user's
``()<function>…``        a cached function, or one call of it
=======================  ============================================================

``<db>`` is eight hexadecimal digits that stand for a database's *content*, not for its alias.
Tables are compared without case and without schema: two tables that differ in no more are
invalidated together, which is safe.

Who changes what, and who depends on what:

- a write of unknown rows changes the epoch and "any row";
- a write of known rows changes "any row" and those rows;
- any write changes, for each declared column, the partitions that it is known to touch, or "?";
- a read that is bound to rows depends on the epoch and those rows;
- a read that is bound to partitions of a column depends on those and on its "?";
- any other read depends on "any row";
- and every read depends on its database.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "any_partition",
    "any_row",
    "collapsed",
    "database",
    "epoch",
    "is_of_database",
    "named",
    "partition",
    "readable",
    "row",
    "table_name",
]

_PART = re.compile(r"^([0-9a-f]{8}:[^#]*)#([^=]*)=.*$", re.DOTALL)
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


def partition(db: str, table: str, column: str, key: str) -> str:
    """The rows of *table* whose *column* has the value that is spelt *key*."""
    return f"{db}:{table_name(table)}#{table_name(column)}={key}"


def any_partition(db: str, table: str, column: str) -> str:
    """Rows of *table* changed, and nobody knows which value their *column* has, or had."""
    return partition(db, table, column, "?")


def collapsed(tags: Iterable[str]) -> set[str]:
    """*tags* with what covers them in place of each row and each partition: fewer, and never less."""
    return {_PART.sub(_whole, tag) for tag in tags}


def _whole(match: re.Match[str]) -> str:
    table, column = match.groups()
    return str(table) if column == "pk" else f"{table}#{column}=?"


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
