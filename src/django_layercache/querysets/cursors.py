"""Raw SQL, as it passes a cursor. What the compilers run has been dealt with, and passes untouched."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import tags
from django_layercache.engine import recording_scope
from django_layercache.handlers import get_engine
from django_layercache.querysets import policies, procedures, transactions, twophase
from django_layercache.querysets.connections import ConnectionState, state_of
from django_layercache.querysets.isolation import has_imported, take_snapshot
from django_layercache.querysets.rawsql import ANYTHING, NOTHING, Effect, effect_of
from django_layercache.querysets.replicas import behind
from django_layercache.querysets.sqlfunctions import spelt
from django_layercache.querysets.watching import is_dealt_with, is_ours
from django_layercache.querysets.writes import tags_of_effect

__all__ = ["UNWATCHED", "call", "run", "watched"]

#: Methods of the drivers' own cursors that run statements; Django hands them through as they are.
UNWATCHED = frozenset({"copy", "copy_expert", "copy_from", "copy_to", "executescript", "stream"})


def run(connection: BaseDatabaseWrapper, sql: Any, execute: Callable[[], Any]) -> Any:
    """*execute* the statement *sql* on *connection*."""
    state = state_of(connection)
    if is_ours():
        return execute()
    if is_dealt_with():
        if state.sight.snapshot is None and state.in_transaction:
            take_snapshot(state)
        return execute()
    effect = _effect(sql, connection)
    _heed(state, effect)
    if effect.control:
        return _control(state, effect, execute)
    with _doing(state, effect):
        result = execute()
    if effect.names_isolation:
        state.sight.vary()
    return result


def call(connection: BaseDatabaseWrapper, procedure: str, execute: Callable[[], Any]) -> Any:
    """*execute* the stored *procedure*."""
    effect = procedures.as_declared(NOTHING.calling(frozenset({spelt(procedure)})))
    with _doing(state_of(connection), effect):
        return execute()


def watched(connection: BaseDatabaseWrapper, name: str, method: Callable[..., Any]) -> Any:
    """The driver's *method*, one of :data:`UNWATCHED`."""

    def run_watched(*args: Any, **kwargs: Any) -> Any:
        if is_ours():
            return method(*args, **kwargs)
        state, effect = state_of(connection), ANYTHING
        if name in _GET_STATEMENT:
            effect = _effect(args[0] if args else next(iter(kwargs.values())), connection)
            _heed(state, effect)
        if effect.control:
            effect = replace(ANYTHING, may_end=True)  # nobody says COMMIT like this
        return _RUN.get(name, _at_once)(state, effect, lambda: method(*args, **kwargs))

    return run_watched


def _at_once(state: ConnectionState, effect: Effect, execute: Callable[[], Any]) -> Any:
    with _doing(state, effect):
        return execute()


def _script(state: ConnectionState, effect: Effect, execute: Callable[[], Any]) -> Any:
    """SQLite commits what is open before it runs a script, whatever Django believes."""
    return _at_once(state, replace(effect, may_end=True), execute)


def _stream(state: ConnectionState, effect: Effect, execute: Callable[[], Any]) -> Any:
    """Psycopg's rows one by one; all of them at once from a statement that changes something.

    A generator could be left in the middle of it.
    """
    if effect.changes_nothing:
        return _at_once(state, effect, execute)
    return iter(_at_once(state, effect, lambda: list(execute())))


@contextmanager
def _copy(
    state: ConnectionState, effect: Effect, execute: Callable[[], AbstractContextManager[Any]]
) -> Iterator[Any]:
    """Psycopg's ``with cursor.copy(...) as copy``: the statement ends where the block does."""
    with _doing(state, effect), execute() as inside:
        yield inside


_RUN = {"copy": _copy, "executescript": _script, "stream": _stream}
#: Those whose first argument is a statement.
_GET_STATEMENT = frozenset({"copy", "copy_expert", "stream"})


def _heed(state: ConnectionState, effect: Effect) -> None:
    if effect.means_otherwise:
        state.schema_changed = True
        state.role_changed = state.role_changed or not effect.chooses_schema


@contextmanager
def _doing(state: ConnectionState, effect: Effect) -> Iterator[None]:
    """Around a statement that has *effect*."""
    if state.sight.snapshot is None and state.in_transaction:
        take_snapshot(state)
    _record(state, effect)
    if effect.changes_nothing:
        yield
        return
    may_end = effect.may_end and state.in_transaction
    around = transactions.perhaps_ending if may_end else transactions.writing
    with around(state.connection, tags_of_effect(effect, state.connection)):
        yield


def _effect(sql: Any, connection: BaseDatabaseWrapper) -> Effect:
    is_text = isinstance(sql, str)
    return procedures.as_declared(
        effect_of(sql, connection.vendor) if is_text else _composed(sql, connection)
    )


def _composed(sql: Any, connection: BaseDatabaseWrapper) -> Effect:
    """Psycopg's ``sql.SQL`` objects know their text once they know the connection."""
    as_string = getattr(sql, "as_string", None)
    if as_string is None:
        return ANYTHING
    try:
        return effect_of(as_string(connection.connection), connection.vendor)
    except Exception:  # whatever is wrong with it, the statement itself will say so
        return ANYTHING


def _control(state: ConnectionState, effect: Effect, execute: Callable[[], Any]) -> Any:
    """BEGIN, COMMIT and ROLLBACK by hand."""
    connection = state.connection
    if effect.savepoint:
        return _savepoint(state, effect, execute)
    if effect.control == "prepare":
        twophase.leave_tags(state)
    if effect.control in {"commit", "rollback", "prepare"}:
        how = transactions.committing if effect.control == "commit" else transactions.rolling_back
        with transactions.ending(connection, how):
            result = execute()
        state.raw_transaction = effect.chains
        return result
    result = execute()
    if effect.control == "begin":
        state.raw_transaction = True
    if effect.control == "snapshot":
        has_imported(state)
    if effect.control == "isolation" or effect.names_isolation:
        state.sight.vary()
    return result


def _savepoint(state: ConnectionState, effect: Effect, execute: Callable[[], Any]) -> Any:
    """SQLite's SAVEPOINT begins a transaction where none is open; the RELEASE of that one is a COMMIT."""
    name, open_before = effect.savepoint, state.begun_by
    if effect.control == "release":
        left = _before_the_last(name, open_before)
        with transactions.committing(state.connection) if left == [] else _doing(state, NOTHING):
            result = execute()
        state.begun_by = left or []
        return result
    begins = not transactions.is_open(state.connection)
    with _doing(state, NOTHING):
        result = execute()
    if begins or open_before:
        state.begun_by = [*open_before, name]
        state.raw_transaction = True
    return result


def _before_the_last(name: str, names: list[str]) -> list[str] | None:
    """What stands in *names* before *name*; ``None`` if that is not in them."""
    if name not in names:
        return None
    return names[: len(names) - 1 - names[::-1].index(name)]


def _record(state: ConnectionState, effect: Effect) -> None:
    """What is being built depends on the tables that a raw query reads."""
    scope = recording_scope()
    if scope is None or effect.reads == frozenset():
        return
    why = "raw SQL may read anything" if effect.reads is None else _unknown(effect.reads)
    if why is not None or effect.reads is None:
        scope.forbid(why or "")
        return
    database = state.database
    found = [tags.database(database), *(tags.any_row(database, table) for table in effect.reads)]
    get_engine().record(found, lambda: None, behind=behind(state))


def _unknown(tables: frozenset[str]) -> str | None:
    if policies.are_models(tables):
        return policies.reservations(tables)[0]
    return "raw SQL reads something that is no model's table, and may be a view"
