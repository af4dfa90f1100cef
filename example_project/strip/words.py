"""Tags and keys in words that a visitor understands."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from django.apps import apps

DATABASE = "(database)"
CHANGED = "changed: "
SESSIONS = "django_session"

#: In front of tags in reasons, and inside keys: the digits of the database.
_DATABASE_DIGITS = re.compile(r"\b[0-9a-f]{8}:")

#: Parts of keys that say nothing to a visitor: the layer (told anyway), versions, lengths, hashes.
_MACHINE = re.compile(r"q|functions|fragments|pages|s?\d{1,2}|~?[0-9a-f]{8,}")


@dataclass(frozen=True)
class TagGroup:
    """The tags of one table, or those of another kind."""

    title: str
    table: str = ""
    whole: bool = False  # depends on the table's epoch: changes whose rows nobody knows
    any_row: bool = False  # depends on each row
    rows: tuple[str, ...] = ()  # depends on these rows
    names: tuple[str, ...] = ()  # named by hand


def group_tags(tags: list[str]) -> list[TagGroup]:
    """Sort tags by the table they are about; then cached functions, and those that were named by hand."""
    tables = table_names()
    by_table: dict[str, set[str]] = defaultdict(set)
    functions, names = [], []
    for tag in tags:
        table, _, part = tag.partition("#")
        if tag.startswith("()"):
            functions.append(tag.removeprefix("()"))
        elif table in tables or part:
            by_table[table].add(part)
        elif tag != DATABASE:
            names.append(tag)
    groups = [_table_group(table, parts, tables) for table, parts in sorted(by_table.items())]
    if functions:
        groups.append(TagGroup("Cached functions, when told to", names=tuple(functions)))
    if names:
        groups.append(TagGroup("Named by hand", names=tuple(names)))
    return groups


def _table_group(table: str, parts: set[str], tables: dict[str, str]) -> TagGroup:
    rows = sorted(
        _row_in_words(table, part) for part in parts - {"", "*"} if not part.endswith("=?")
    )
    return TagGroup(tables.get(table, table), table, "" in parts, "*" in parts, tuple(rows))


def _row_in_words(table: str, part: str) -> str:
    """`EGLL` for the row of that key, `airport EGLL` for the rows that have it in that column."""
    if table == SESSIONS:
        return "yours"  # the key of a session is a secret
    column, _, value = part.partition("=")
    return value if column == "pk" else f"{column.removesuffix('_id')} {value}"


def changes(reason: str) -> list[str]:
    """What a reason says has changed, the most exact first; empty if it says something else."""
    if not reason.startswith(CHANGED):
        return []
    tags = [without_digits(tag) for tag in reason.removeprefix(CHANGED).split(", ")]
    exact = [tag for tag in tags if "#" in tag and not tag.endswith("#*")]
    some = [tag for tag in tags if tag.endswith("#*")]
    tables = {tag.partition("#")[0] for tag in exact}
    # One row of a table says more than "a row of it", and that says more than "the table".
    some = [tag for tag in some if tag.partition("#")[0] not in tables]
    tables |= {tag.partition("#")[0] for tag in some}
    rest = [tag for tag in tags if "#" not in tag and tag not in tables]
    return [in_words(tag) for tag in (*exact, *some, *rest)]


def in_words(tag: str) -> str:
    """One tag: `Airport EGLL`, `some Review`, `announcement`."""
    table, _, part = tag.partition("#")
    title = table_names().get(table, table)
    if part == "*":
        return f"some {title}"
    if part:
        return f"{title} {_row_in_words(table, part)}"
    return title


def without_digits(text: str) -> str:
    """Without the digits that stand for a database: the site has only one."""
    return _DATABASE_DIGITS.sub("", text).removeprefix("#")


def key_in_words(key: str) -> str:
    """A key without what only a machine reads: layer, version, hashes."""
    told, _, _ = key.partition(":(")  # what follows is the source of a fragment
    parts = [part for part in told.split(":") if part and not _MACHINE.fullmatch(part)]
    if key.startswith("pages:"):
        parts = parts[:1]  # the address; what follows is Django's
    return " ".join(parts) or key


def shorten(sql: str) -> str:
    """A statement without the names of the columns that it fetches."""
    return re.sub(
        r"^SELECT (?:DISTINCT )?.*? FROM ", "SELECT … FROM ", sql, count=1, flags=re.DOTALL
    )


def table_names() -> dict[str, str]:
    """The model's name for each table of the project."""
    models = apps.get_models(include_auto_created=True)
    return {model._meta.db_table: _capital(str(model._meta.verbose_name)) for model in models}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
