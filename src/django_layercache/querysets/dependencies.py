"""What a query depends on: of each table that it reads, as little as is certainly enough.

``docs/explanation/dependencies.md`` says which tags there are and why these are enough; the text of the
statement says which tables and columns are read, its conditions which rows.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from django.core.signals import setting_changed
from django.db.models import Value
from django.db.models.sql.compiler import SQLAggregateCompiler, SQLCompiler
from django.db.models.sql.query import Query

from django_layercache import conf, tags
from django_layercache.querysets.bindings import Binding, bindings_of, bound_rows
from django_layercache.querysets.joined import place_of, tables_looked_up, tables_with_late_rows
from django_layercache.querysets.orderings import is_total
from django_layercache.querysets.shapes import Names, Shape
from django_layercache.querysets.tables import registry

__all__ = [
    "MOST_ROWS",
    "NOTHING",
    "Wanted",
    "is_existence",
    "proves_rows",
    "tags_of_read",
]

#: A result of more rows than this depends on any row: each costs a tag.
MOST_ROWS = 10

#: A query that would have more tags than this for the columns in its partitions depends on any change in them.
MOST_TAGS_OF_PARTITIONS = 12

Tags = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The tags of a query, and what may be left away of them once its result is known.

    ``rows`` are the keys of the rows to which it is bound: if it finds them all, it does not depend
    on the last tag. Else, if ``place`` is where in a row of the result the primary key stands, the
    rows that it finds may take the place of the tags ``general``, but not of those ``besides``.
    """

    tags: Tags
    rows: Tags = ()
    general: Tags = ()
    besides: Tags = ()
    place: int | None = None


def tags_of_read(compiler: SQLCompiler, sql: str, shape: Shape, database: str) -> Wanted:
    """What the query of *compiler* depends on, of which *sql* is the text."""
    # An aggregate over a query is as bound as that one is.
    query: Query = getattr(compiler.query, "inner_query", None) or compiler.query
    main = tags.table_name(query.get_meta().db_table)
    bindings: list[Binding] = []
    looked_up: AbstractSet[str] = frozenset()
    if shape.read_once and not query.combinator:
        bindings = list(bindings_of(query, compiler.connection))
        looked_up = tables_looked_up(query, sql, compiler.connection) & shape.read_once
    rows = (bound_rows(query, bindings) or ()) if main in shape.read_once else ()
    late = tables_with_late_rows(compiler, shape.read_once) if rows else frozenset()
    of_tables = _OfTables(database, shape, _partitions(query, shape, bindings), looked_up)
    of_tables.is_narrow = _may_be_narrow(compiler, shape)
    wanted = [tags.database(database)]
    general: Tags = ()
    besides: Tags = ()
    place: int | None = None
    for table in sorted(shape.tables):
        if rows and table == main:
            continue
        if table in late - looked_up:
            wanted.append(tags.any_row(database, table))
            continue
        wanted += of_tables.tags(table)
        if table == main and (place := _place_of_rows(compiler, shape, main)) is not None:
            general, besides = of_tables.general(main)
            if general and set(general) <= set(wanted):
                wanted += besides
            else:
                place = None
    if _lies_somewhere(compiler, of_tables.is_narrow, rows, shape):
        wanted += (tags.places(database, table) for table in sorted(shape.tables))
    if rows:
        wanted += of_tables.rows(main, rows)
        wanted.append(tags.which_rows(database, main))
    return Wanted(tuple(wanted), rows, general, besides, place)


NOTHING = Wanted(())


class _OfTables:
    """The tags of each table of a query."""

    is_narrow = True

    def __init__(
        self,
        database: str,
        shape: Shape,
        partitions: dict[str, Binding],
        looked_up: AbstractSet[str],
    ) -> None:
        self._database = database
        self._shape = shape
        self._partitions = partitions
        self._looked_up = looked_up

    def tags(self, table: str) -> Tags:
        """As few as are certainly enough."""
        shape, columns = self._shape, self._shape.columns.get(table)
        is_narrow = self.is_narrow and columns is not None and table in shape.narrow
        if table in self._partitions:
            binding = self._partitions[table]
            return self._of_keys(table, binding.field.column, binding.keys, is_narrow)
        is_looked_up = table in self._looked_up and columns is not None
        if is_looked_up and (is_narrow or table not in shape.narrow):
            which = tags.which_rows_of(self._database, table, tags.KEY, tags.UNKNOWN)
            return (which, *_columns(self._database, table, columns or ()))
        if is_narrow:
            return self._narrow(table, columns or ())
        return (tags.any_row(self._database, table),)

    def rows(self, table: str, keys: Tags) -> Tags:
        """Of a query that is bound to the rows *keys*."""
        has_order = self.is_narrow or len(keys) == 1 == len(self._shape.tables)
        return self._of_keys(table, tags.KEY, keys, has_order and table in self._shape.narrow)

    def general(self, table: str) -> tuple[Tags, Tags]:
        """What stands for any change, and what besides for those of rows that are not in the result."""
        deciding = self._shape.deciding[table]
        if table in self._partitions:
            column = self._partitions[table].field.column
            general = tags.partition(self._database, table, column, tags.UNKNOWN)
            besides = _of_partition(self._database, table, column, tags.UNKNOWN, deciding)
            return (general,), besides
        if table in self._looked_up:
            others = set(self._shape.columns.get(table, ())).difference(deciding)
            return _columns(self._database, table, tuple(sorted(others))), ()
        return (tags.any_row(self._database, table),), self._narrow(table, deciding)

    def _narrow(self, table: str, columns: Names) -> Tags:
        which = tags.which_rows(self._database, table)
        return (which, *_columns(self._database, table, columns))

    def _of_keys(self, table: str, column: str, keys: Tags, is_narrow: bool) -> Tags:
        """Of the partitions *keys* by *column*: what is read of them, if that is little."""
        columns = self._shape.columns.get(table, ())
        if is_narrow and (1 + len(keys)) * (1 + len(columns)) <= MOST_TAGS_OF_PARTITIONS:
            all_keys = (tags.UNKNOWN, *keys)
            return tuple(
                chain.from_iterable(
                    _of_partition(self._database, table, column, key, columns) for key in all_keys
                )
            )
        if column == tags.KEY:
            epoch = tags.epoch(self._database, table)
            return (epoch, *(tags.row(self._database, table, key) for key in keys))
        return tuple(
            tags.partition(self._database, table, column, key) for key in (tags.UNKNOWN, *keys)
        )


@lru_cache(maxsize=4096)
def _columns(database: str, table: str, names: Names) -> Tags:
    return tuple(tags.column(database, table, name) for name in names)


@lru_cache(maxsize=4096)
def _of_partition(database: str, table: str, column: str, key: str, names: Names) -> Tags:
    """Of a partition: which rows there are, and what they have in the columns *names*; in its own it is the key."""
    own = None if column == tags.KEY else tags.table_name(column)
    return (
        tags.which_rows_of(database, table, column, key),
        *(tags.column_of(database, table, column, key, name) for name in names if name != own),
    )


def _partitions(query: Query, shape: Shape, bindings: list[Binding]) -> dict[str, Binding]:
    """For each table that is read once and bound to partitions: these."""
    found: dict[str, Binding] = {}
    for binding in bindings:
        table = tags.table_name(query.alias_map[binding.alias].table_name)
        if table in shape.read_once and binding.field in registry().table(table).partitions:
            found[table] = binding
    return found


def _may_be_narrow(compiler: SQLCompiler, shape: Shape) -> bool:
    """Whether a change of columns that it does not read leaves the result as it is.

    PostgreSQL puts a changed row elsewhere, and returns rows that nobody orders as it finds them;
    SQLite may find them in an index, in the order of other columns.
    """
    return not shape.is_arbitrary and (
        _is_in_one_order(compiler, shape) or is_existence(compiler) or not returns_rows(compiler)
    )


def _is_in_one_order(compiler: SQLCompiler, shape: Shape) -> bool:
    """Whether its rows come in the order that it says, and no two of them are equal in that."""
    if not shape.is_ordered or compiler.connection.vendor != "postgresql":
        return shape.is_ordered
    if not shape.is_total:
        shape.is_total.append(not shape.has_places and is_total(compiler, shape.ordered_by))
    return shape.is_total[0]


def _lies_somewhere(compiler: SQLCompiler, is_narrow: bool, rows: Tags, shape: Shape) -> bool:
    """Whether the order of the result is that in which the database finds the rows, where an UPDATE moves them."""
    is_one_row = len(rows) == 1 == len(shape.tables)
    return compiler.connection.vendor == "postgresql" and not is_narrow and not is_one_row


def _place_of_rows(compiler: SQLCompiler, shape: Shape, main: str) -> int | None:
    """Where in a row of the result the primary key stands that tells which rows are in it."""
    query = compiler.query
    pk = query.get_meta().pk
    is_apt = (
        main in shape.deciding
        and main in shape.read_once
        and proves_rows(compiler, shape)
        and not query.combinator
        and not query.distinct_fields
        and (shape.is_ordered or _takes_all(query))
    )
    return place_of(compiler, query.base_table, pk.column) if is_apt else None


def _takes_all(query: Query) -> bool:
    """Whether a result of few rows has all that there are: ``get()`` has a limit, but a high one."""
    return query.low_mark == 0 and (query.high_mark is None or query.high_mark > MOST_ROWS)


def is_existence(compiler: SQLCompiler) -> bool:
    """Whether it is ``exists()``: if a row is there, others make no difference."""
    selected = compiler.select or ()
    return compiler.query.high_mark == 1 and all(type(one) is Value for one, _, _ in selected)


def proves_rows(compiler: SQLCompiler, shape: Shape) -> bool:
    """Whether a row in the result proves a row in the table: not so for ``SELECT COUNT(*)``, whoever wrote it."""
    is_grouped = compiler.query.group_by is not None
    return returns_rows(compiler) and (is_grouped or not shape.has_aggregates)


def returns_rows(compiler: SQLCompiler) -> bool:
    """Whether it may return many rows, as far as Django knows."""
    query = compiler.query
    if isinstance(compiler, SQLAggregateCompiler):
        return False
    return query.group_by is not None or not any(
        getattr(annotation, "contains_aggregate", True)
        for annotation in query.annotation_select.values()
    )


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == conf.SETTING:
        _columns.cache_clear()  # the tenants' tables are perhaps others
        _of_partition.cache_clear()


setting_changed.connect(
    _on_setting_changed, dispatch_uid="django_layercache.querysets.dependencies"
)
