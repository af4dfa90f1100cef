"""The names of tags: one grammar for all layers.

=======================  ============================================================
``<db>:``                everything in a database
``<db>:<table>``         the *epoch* of a table: rows changed, nobody knows which
``<db>:<table>#*``       any row of it
``<db>:<table>#+``       which rows there are: one appeared or went, or changed nobody knows where
``<db>:<table>#.views``  what its rows have in a column
``<db>:<table>#~``       where its rows lie: one was written as it was
``<db>:<table>#pk=5``    one row: a partition by the primary key; the unknown one is the epoch
``<db>:<t>#post_id=7``   a *partition*: the rows that have a value in a foreign key, a unique or a declared column
``<db>:<t>#post_id=?``   rows changed, nobody knows of which of these partitions
``<db>:<t>#post_id=7+``  (or ``?+``) which rows there are in it
``<db>:<t>#post_id=7+n`` (or ``?+n``) what its rows have in the column ``n``
``<db>:<t>@acme#…``      all these, of one tenant
``#weather``             a name of the user's
``()<function>…``        a cached function, or one call of it
=======================  ============================================================

``<db>`` is eight hexadecimal digits that stand for a database's *content*, not for its alias.
Tables are compared without case and without schema: two tables that differ in no more are
invalidated together, which is safe.

Where a reader has a tenant, ``<db>`` is followed by it (``0a1b2c3d@acme``). It comes behind the names
of the tables in which tenants have rows of their own, and nowhere else.

Who changes what, and who depends on what:

- any write changes "any row", and those rows, or the epoch if nobody knows which they are;
- one that may do more than give known columns other values changes "which rows", any other those columns;
- any write changes, for each column that makes partitions, those that it is known to touch, or else "?";
  and of these, as of the rows, "which rows" or the columns;
- an UPDATE that changes nothing changes, on PostgreSQL, where its rows lie;
- a read that is bound to rows depends on the epoch and those rows;
- a read that is bound to partitions of a column depends on those and on its "?";
- a read that looks a row up by a foreign key depends on the columns that it reads, and on unknown rows of
  which more is unknown: no row that is referred to can appear or go without a change where it is referred to;
- any other read depends on "any row";
- a read of few columns depends on "which rows" and these columns, of the table, its rows or its partitions, instead;
- a read of rows in no order depends on where they lie, too;
- and every read depends on its database.

Which of these a read uses is decided in :mod:`django_layercache.querysets.dependencies`, what a write changes in
:mod:`django_layercache.querysets.writes`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache

__all__ = [
    "KEY",
    "UNKNOWN",
    "any_row",
    "collapsed",
    "column",
    "column_of",
    "database",
    "epoch",
    "is_of_database",
    "let_tenants_have",
    "named",
    "partition",
    "places",
    "readable",
    "row",
    "table_name",
    "tables_in",
    "which_rows",
    "which_rows_of",
    "widened",
]

#: The key that stands for a partition that nobody knows.
UNKNOWN = "?"
#: What the primary key is called as the column of a partition, whatever its name.
KEY = "pk"

_PART = re.compile(r"^([0-9a-f]{8}:[^#]*)#([^=]*)=.*$", re.DOTALL)
_TABLE = re.compile(r"^([0-9a-f]{8}:)([^#@]+)(@[^#]*)?(#.*)?$", re.DOTALL)
_ESCAPED = str.maketrans({character: f"%{ord(character):02x}" for character in "#:=@"})
_DATABASE = re.compile(r"^[0-9a-f]{8}:(?=.)")


def database(db: str) -> str:
    """Everything in the database *db*."""
    return f"{_content(db)}:"


def epoch(db: str, table: str) -> str:
    """Rows of *table* changed, and nobody knows which."""
    return _of(db, table)


def any_row(db: str, table: str) -> str:
    """A row of *table* changed, appeared or went."""
    return f"{_of(db, table)}#*"


def which_rows(db: str, table: str) -> str:
    """A row of *table* appeared or went, or changed nobody knows where."""
    return f"{_of(db, table)}#+"


def column(db: str, table: str, name: str) -> str:
    """What the rows of *table* have in the column *name* changed."""
    return f"{_of(db, table)}#.{table_name(name)}"


def row(db: str, table: str, key: str) -> str:
    """The row of *table* with the primary key *key*, in its canonical spelling."""
    return f"{_of(db, table)}#{KEY}={key}"


def partition(db: str, table: str, column: str, key: str) -> str:
    """The rows of *table* whose *column* has the value that is spelt *key*; :data:`UNKNOWN`: nobody knows which."""
    return f"{_of(db, table)}#{table_name(column)}={key}"


def which_rows_of(db: str, table: str, column: str, key: str) -> str:
    """:func:`which_rows`, of the rows of a :func:`partition`."""
    return f"{partition(db, table, column, key)}+"


def column_of(db: str, table: str, column: str, key: str, name: str) -> str:
    """:func:`column`, of the rows of a :func:`partition`."""
    return f"{partition(db, table, column, key)}+{table_name(name)}"


def places(db: str, table: str) -> str:
    """Rows of *table* were written, but not changed: the database may return them in another order."""
    return f"{_of(db, table)}#~"


def collapsed(tags: Iterable[str]) -> set[str]:
    """*tags* with what covers them in place of each row and each partition: fewer, and never less."""
    return {whole for tag in tags for whole in _whole(tag)}


def _whole(tag: str) -> tuple[str, ...]:
    match = _PART.match(tag)
    if match is None:
        return (tag,)
    table, column = match.groups()
    unknown = f"{table}#{column}={UNKNOWN}"
    return (table if column == KEY else unknown, f"{unknown}+")


def named(name: str) -> str:
    """A tag of the user's."""
    return f"#{name}"


@lru_cache(maxsize=4096)
def table_name(table: str) -> str:
    """*table* as it stands in tags. ``"schema"."table"`` is its last part."""
    last = re.split(r"[\"`\]]\s*\.\s*[\"`\[]", table)[-1].strip('"`[]')
    # Statements double a percent sign. What is spelt like this already stays as it is.
    return last.lower().replace("%%", "%").translate(_ESCAPED)


def is_of_database(tag: str, db: str) -> bool:
    """Whether *tag* names something in the database *db*."""
    return tag.startswith(f"{_content(db)}:")


# -- tenants ------------------------------------------------------------------------------------

_tables_of_tenants: Callable[[], AbstractSet[str]] = frozenset


def let_tenants_have(tables: Callable[[], AbstractSet[str]]) -> None:
    """*tables* says in which tables, as they stand in tags, each tenant has rows of its own."""
    global _tables_of_tenants
    _tables_of_tenants = tables


def _of(db: str, table: str) -> str:
    name = table_name(table)
    content, _, tenant = db.partition("@")
    has_tenants = tenant and name in _tables_of_tenants()
    return f"{content}:{name}@{tenant}" if has_tenants else f"{content}:{name}"


def _content(db: str) -> str:
    return db.partition("@")[0]


def widened(changed: Iterable[str]) -> Iterator[str]:
    """*changed*, and what that means for others than the tenant who has changed it.

    Who has no tenant may have read any tenant's rows, and may have changed any tenant's.
    """
    tables = _tables_of_tenants()
    for tag in changed:
        yield tag
        match = _TABLE.match(tag) if tables else None
        if match is not None and match[2] in tables:
            yield match[1] if match[3] is None else f"{match[1]}{match[2]}{match[4] or ''}"


def tables_in(changed: Iterable[str]) -> Iterator[str]:
    """The tables of which *changed* has "any row", as they stand in tags."""
    for tag in changed:
        if tag.endswith("#*"):
            yield tag[9:-2].partition("@")[0]


def readable(tags: Iterable[str]) -> tuple[str, ...]:
    """*tags* as a person wants to see them: without the digits of the database."""
    return tuple(
        "(database)" if tag.endswith(":") else _DATABASE.sub("", tag).removeprefix("#")
        for tag in tags
    )
