"""What the text of a query says: which tables and columns it reads, and what decides about its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed

from django_layercache import conf
from django_layercache.querysets import sqlfunctions
from django_layercache.querysets.orderings import Terms, terms_of
from django_layercache.querysets.procedures import as_declared
from django_layercache.querysets.rawsql import effect_of
from django_layercache.querysets.sqltext import LONGEST, Scan, scan
from django_layercache.querysets.tables import Registry, registry

__all__ = ["Names", "Shape", "shape_of"]

#: A query that reads more columns of a table than this depends on any change of its rows: each costs a tag.
MOST_COLUMNS = 6

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the text alone says: the same for all parameters.

    ``columns`` are those that are read of each table, if they are few; ``narrow`` are the tables that
    have others, too; ``deciding`` the columns that decide which rows are in the result, if they are few.
    """

    tables: frozenset[str]
    unknown: str | None
    volatile: str | None
    is_handwritten: bool
    #: A text that it is given may be read as a date or a time.
    reads_times: bool
    read_once: frozenset[str]
    columns: Mapping[str, Names]
    narrow: frozenset[str]
    deciding: Mapping[str, Names]
    is_ordered: bool
    ordered_by: Terms
    is_arbitrary: bool
    has_aggregates: bool
    #: A window tells rows apart by their order.
    has_places: bool
    #: Whether the order tells all rows apart, once that has been asked.
    is_total: list[bool] = field(default_factory=list)


def shape_of(sql: str, vendor: str) -> Shape:
    """Read the text of a query. Shapes are remembered by text."""
    read = _shape_of if len(sql) <= LONGEST else _shape_of.__wrapped__
    return read(sql, vendor, registry())


@lru_cache(maxsize=4096)
def _shape_of(sql: str, vendor: str, models: Registry) -> Shape:
    scanned = scan(sql)
    tables, unknown = _tables(scanned, sql, vendor)
    columns, deciding = {}, {}
    if scanned.handwritten is None:
        columns = _few(scanned.columns, models)
        deciding = _few(scanned.deciding, models)
    narrow = frozenset(
        table
        for table, read in columns.items()
        if len(read) < len(models.table(table).columns or ())
    )
    return Shape(
        tables,
        unknown,
        scanned.volatile,
        is_handwritten=scanned.handwritten is not None,
        reads_times=not scanned.functions.isdisjoint(sqlfunctions.DATES) or "::" in sql,
        read_once=frozenset(table for table, times in scanned.tables.items() if times == 1)
        if scanned.handwritten is None
        else frozenset(),
        columns=columns,
        narrow=narrow,
        deciding=deciding,
        is_ordered=scanned.is_ordered,
        ordered_by=terms_of(sql) if scanned.is_ordered else frozenset(),
        is_arbitrary=scanned.is_arbitrary,
        has_aggregates=not scanned.functions.isdisjoint(sqlfunctions.AGGREGATES),
        has_places=not scanned.functions.isdisjoint(sqlfunctions.OF_PLACES),
    )


def _tables(scanned: Scan, sql: str, vendor: str) -> tuple[frozenset[str], str | None]:
    """The tables of the statement, or why they are not known."""
    if scanned.handwritten is None:
        return frozenset(scanned.tables), None
    effect = as_declared(effect_of(sql, vendor))
    if effect.reads is None or effect.writes is None or effect.writes:
        return frozenset(), f"it {scanned.handwritten}"
    return effect.reads | scanned.tables.keys(), None


def _few(names: Mapping[str, frozenset[str]] | None, models: Registry) -> dict[str, Names]:
    """For each table, those of *names* that are columns of it, if they are few."""
    found: dict[str, Names] = {}
    for table, read in (names or {}).items():
        has = models.table(table).columns
        if has is not None and len(read & has) <= MOST_COLUMNS:
            found[table] = tuple(sorted(read & has))
    return found


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == conf.SETTING:
        _shape_of.cache_clear()  # what functions read has perhaps been declared otherwise


setting_changed.connect(_on_setting_changed, dispatch_uid="django_layercache.querysets.shapes")
