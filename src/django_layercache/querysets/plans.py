"""A read, looked at before it runs: its key, its tags, and whether it may be cached at all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models.sql.compiler import SQLCompiler

from django_layercache.querysets import policies
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.dependencies import (
    MOST_ROWS,
    NOTHING,
    Wanted,
    is_existence,
    proves_rows,
    tags_of_read,
)
from django_layercache.querysets.joined import (
    keys_of,
    may_join_rows,
    place_of,
    repeats_no_row,
    rows_joined,
    tags_of_known_rows,
)
from django_layercache.querysets.keys import key_of
from django_layercache.querysets.shapes import Shape, shape_of

#: What databases read as a time that depends on when they read it.
_MOVING_TIMES = ("now", "today", "tomorrow", "yesterday")

__all__ = ["Plan", "plan_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """``wanted`` has the tags whose state is to be fetched before the read.

    ``unknown`` says why its dependencies are not known, so that nothing that contains it may be
    stored; ``uncacheable`` why its own result is not stored although they are.
    """

    compiler: SQLCompiler
    key: str = ""
    unknown: str | None = None
    uncacheable: str | None = None
    wanted: Wanted = NOTHING
    database: str = ""
    read_once: frozenset[str] = frozenset()
    proves_rows: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        return self.wanted.tags

    @property
    def may_have_late_tags(self) -> bool:
        """Whether it is worth asking :meth:`late`."""
        if self.wanted.rows:
            return may_join_rows(self.compiler)
        return self.wanted.place is not None

    def late(self, result: Sequence[Any]) -> dict[str, list[str]]:
        """The rows that may take the place of "any row": those in the result, and those behind foreign keys."""
        if not self.wanted.rows:
            return self._rows_of(result)
        if not self._found_all(result):
            return {}
        return rows_joined(self.compiler, result, self.database, self.read_once, self.tags)

    def _rows_of(self, result: Sequence[Any]) -> dict[str, list[str]]:
        place = self.wanted.place
        if place is None or len(result) > MOST_ROWS:
            return {}
        main = self.compiler.query.get_meta()
        rows = keys_of([row[place] for row in result], main.pk, self.compiler)
        if rows is None:
            return {}
        late = tags_of_known_rows(self.database, main.db_table, rows)
        return dict.fromkeys(self.wanted.general, late)

    def settle(self, result: Sequence[Any]) -> Iterable[str]:
        """The tags that *result* depends on.

        A query that found all the rows to which it is bound depends on them; one that did not
        depends on which rows there are, because a missing one can be inserted. One that found too
        many for a tag each depends on any row.
        """
        if self.wanted.rows:
            return self.tags[:-1] if self._found_all(result) else self.tags
        if self.wanted.place is not None and len(result) > MOST_ROWS:
            return [tag for tag in self.tags if tag not in self.wanted.besides]
        return self.tags

    def _found_all(self, result: Sequence[Any]) -> bool:
        if not self.proves_rows:
            return False
        bound = len(self.wanted.rows)
        if bound == 1 or is_existence(self.compiler):
            return len(result) > 0
        query = self.compiler.query
        place = place_of(self.compiler, query.base_table, query.get_meta().pk.column)
        if place is not None:
            return len({row[place] for row in result}) == bound
        # Without the keys in the result: a row of it for each, if nothing repeats or merges any.
        is_one_each = not query.is_sliced and not query.distinct and query.group_by is None
        return is_one_each and len(result) == bound and repeats_no_row(query)


def plan_of(compiler: SQLCompiler, sql: str, params: Sequence[Any]) -> Plan:
    """Look at the statement *sql* that *compiler* has made."""
    connection = compiler.connection
    state = state_of(connection)
    database = state.database
    main = compiler.query.get_meta().db_table
    shape = shape_of(sql, connection.vendor)
    unknown, excluded = policies.reservations(shape.tables)
    unknown = shape.unknown or unknown
    if unknown is None and shape.is_handwritten and not policies.are_models(shape.tables):
        unknown = "hand-written SQL reads something that is no model's table, and may be a view"
    if unknown is not None:
        return Plan(compiler, unknown=unknown)
    key, unkeyable = key_of(state, main, sql, params)
    wanted = tags_of_read(compiler, sql, shape, database)
    return Plan(
        compiler,
        key,
        uncacheable=shape.volatile
        or unkeyable
        or excluded
        or _why_volatile(compiler, shape, params),
        wanted=wanted,
        database=database,
        read_once=shape.read_once,
        proves_rows=proves_rows(compiler, shape),
    )


def _why_volatile(compiler: SQLCompiler, shape: Shape, params: Sequence[Any]) -> str | None:
    """Why the result may change although no table does and the text does not say so."""
    if state_of(compiler.connection).means_otherwise:
        return "the connection's search path, role or variables were changed"
    if compiler.query.select_for_update:
        return (
            "it locks rows"  # where the database can; where it cannot, nothing in the text says so
        )
    if shape.reads_times and any(
        isinstance(param, str) and param.strip().lower().startswith(_MOVING_TIMES)
        for param in params
    ):
        return "'now' gives another result each time"
    return None
