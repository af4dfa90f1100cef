"""What the database does by itself when a table is written to, as far as its catalogue tells.

Triggers may change the row itself: an UPDATE then changes more columns than it names, and may put the row into
other partitions. (So does a column that the database computes, and that no model knows.) And they may change
other rows and other tables, by statements of their own: which, their texts say. Of a trigger whose
text cannot be read nobody knows what it changes, unless ``PROCEDURES`` names its function. And where rows go,
foreign keys may cascade, of which no model needs to know.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.signals import setting_changed
from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import conf
from django_layercache.forks import renewed_in_children
from django_layercache.querysets.catalogues import Catalogue, Text, look_up
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.procedures import changed_by
from django_layercache.querysets.tables import table_of
from django_layercache.querysets.triggerbodies import HARMLESS, LANGUAGES, Body, body_of
from django_layercache.tags import table_name

__all__ = ["Following", "following", "forget", "learn", "may_be"]

#: For how many seconds an answer holds: somebody else may create a trigger.
KEPT = 60.0

logger = logging.getLogger("django_layercache.querysets")


@dataclass(frozen=True, slots=True)
class Following:
    """The tables whose rows the database changes by itself, and those of them whose rows may go."""

    writes: frozenset[str] = frozenset()
    deletes: frozenset[str] = frozenset()


NOTHING = Following()


@dataclass(frozen=True, slots=True)
class _Known:
    """Of one database: what follows a write to a table, of which rows may be gone or not; ``None`` if nobody knows."""

    until: float = 0.0
    own: frozenset[str] = frozenset()
    following: Mapping[tuple[str, bool], Following | None] = field(default_factory=dict)


_lock = renewed_in_children(threading.Lock())
_known: dict[str, _Known] = {}
_announced: set[tuple[str, str]] = set()


def may_be(table: str, connection: BaseDatabaseWrapper) -> bool:
    """Whether *table* may have a trigger: so it is where nobody has asked yet."""
    known = _known.get(state_of(connection).database, _Known())
    return known.until < time.monotonic() or table_name(table) in known.own


def following(
    tables: Iterable[str], may_be_gone: Callable[[str], bool], connection: BaseDatabaseWrapper
) -> Following | None:
    """What follows a write to *tables*, as they stand in tags, of which rows may be gone; ``None``: anything."""
    known = _known.get(state_of(connection).database)
    if known is None or not known.following:
        return NOTHING
    return _joined(
        known.following.get((table, may_be_gone(table)), NOTHING)
        for table in tables
        if (table, True) in known.following
    )


def learn(connection: BaseDatabaseWrapper) -> None:
    """Ask, if it is time to.

    Asked of the driver's connection: it is not a query of the application's. In a transaction it is
    to be asked after a statement, because on SQLite one that begins by reading may have to give up.
    """
    database = state_of(connection).database
    if _known.get(database, _Known()).until >= time.monotonic():
        return
    catalogue = look_up(connection)
    if catalogue is not None:
        known = _Known(time.monotonic() + KEPT, _own(catalogue), _all_following(catalogue))
        with _lock:
            _known[database] = known


def forget() -> None:
    """A statement ran of which nobody knows what it does."""
    with _lock:
        _known.clear()


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == conf.SETTING:
        forget()  # what functions change has perhaps been declared otherwise


setting_changed.connect(_on_setting_changed, dispatch_uid="django_layercache.querysets.triggered")


def _own(catalogue: Catalogue) -> frozenset[str]:
    computed = {
        table for table, column in catalogue.generated if column not in table_of(table).generated
    }
    return frozenset(computed.union(text.table for text in catalogue.triggers))


# -- other rows and tables -------------------------------------------------------------------------


def _all_following(catalogue: Catalogue) -> dict[tuple[str, bool], Following | None]:
    direct: dict[str, Following | None] = {}
    for trigger in catalogue.triggers:
        found = _of_trigger(trigger, catalogue)
        if found is None:
            _announce(trigger)
        if found != NOTHING:
            direct[trigger.table] = _joined((direct.get(trigger.table, NOTHING), found))
    gone = direct.keys() | catalogue.cascades.keys()
    starts = [*((table, False) for table in direct), *((table, True) for table in gone)]
    return {start: _closure(start, direct, catalogue.cascades) for start in starts}


def _of_trigger(trigger: Text, catalogue: Catalogue) -> Following | None:
    """What one trigger changes by itself, and by the functions that it calls."""
    own_rows = frozenset(
        (trigger.table, table_name(str(key.column)))
        for model in table_of(trigger.table).models
        for key in model._meta.pk_fields
        if len(model._meta.pk_fields) == 1
    )
    found, seen, waiting = NOTHING, {trigger.name}, [(trigger, own_rows)]
    while waiting:
        text, rows = waiting.pop()
        said = changed_by(text.name)
        if said is not None:
            found = _joined((found, Following(said, said))) or NOTHING
            continue
        body = _body(text, rows)
        if body is None or not catalogue.views.isdisjoint(body.writes):
            return None
        found = _joined((found, Following(body.writes, body.deletes))) or NOTHING
        calls = body.calls.intersection(catalogue.functions) - seen
        seen |= calls
        waiting += [(one, frozenset()) for call in calls for one in catalogue.functions[call]]
    return found


def _body(text: Text, own_rows: frozenset[tuple[str, str]]) -> Body | None:
    if text.language in LANGUAGES:
        return body_of(text.text, text.language, own_rows)
    return Body() if text.name in HARMLESS else None


def _closure(
    start: tuple[str, bool],
    direct: Mapping[str, Following | None],
    cascades: Mapping[str, Collection[str]],
) -> Following | None:
    """What a write to a table sets off, and what these changes set off, and so on."""
    found, seen, waiting = NOTHING, {start}, [start]
    while waiting:
        table, is_gone = waiting.pop()
        cascaded = frozenset(cascades.get(table, ()) if is_gone else ())
        next_ones = _joined((direct.get(table, NOTHING), Following(cascaded, cascaded)))
        joined = _joined((found, next_ones))
        if joined is None or next_ones is None:
            return None
        found = joined
        new = {(one, one in next_ones.deletes) for one in next_ones.writes} - seen
        waiting += new
        seen |= new
    return found


def _joined(all_of_them: Iterable[Following | None]) -> Following | None:
    writes: frozenset[str] = frozenset()
    deletes: frozenset[str] = frozenset()
    for one in all_of_them:
        if one is None:
            return None
        writes, deletes = writes | one.writes, deletes | one.deletes
    return Following(writes, deletes)


def _announce(trigger: Text) -> None:
    if (trigger.table, trigger.name) not in _announced:
        _announced.add((trigger.table, trigger.name))
        logger.warning(
            "Nobody knows what the trigger function %r changes: each write to %r counts as one to "
            "every table. Name it in LAYERCACHE['PROCEDURES'], with the models that it changes.",
            trigger.name,
            trigger.table,
        )
