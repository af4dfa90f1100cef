"""Raw SQL, as it passes a cursor. What the compilers run has been dealt with, and passes untouched."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import tags
from django_layercache.engine import recording_scope
from django_layercache.handlers import get_engine
from django_layercache.querysets import policies, procedures, transactions
from django_layercache.querysets.connections import ConnectionState, state_of
from django_layercache.querysets.isolation import take_snapshot
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
    effect = (
        effect_of(sql, connection.vendor) if isinstance(sql, str) else _composed(sql, connection)
    )
    effect = procedures.as_declared(effect)
    if effect.means_otherwise:
        state.schema_changed = True
        state.role_changed = state.role_changed or not effect.chooses_schema
    if effect.control:
        return _control(state, effect, execute)
    if state.sight.snapshot is None and state.in_transaction:
        take_snapshot(state)
    if effect.writes is None or effect.writes:
        _record(state, effect)
        may_end = effect.may_end and state.in_transaction
        around = transactions.perhaps_ending if may_end else transactions.writing
        with around(connection, tags_of_effect(effect, connection)):
            return execute()
    _record(state, effect)
    return execute()


def call(
    connection: BaseDatabaseWrapper, execute: Callable[[], Any], procedure: str | None = None
) -> Any:
    """*execute* a stored procedure, or what else may read and change anything."""
    effect = ANYTHING
    if procedure is not None:
        effect = procedures.as_declared(NOTHING.calling(frozenset({spelt(procedure)})))
    _record(state_of(connection), effect)
    with transactions.writing(connection, tags_of_effect(effect, connection)):
        return execute()


def watched(connection: BaseDatabaseWrapper, name: str, method: Callable[..., Any]) -> Any:
    """The driver's *method*, one of :data:`UNWATCHED`, which may read and change anything."""
    if name == "copy":
        return lambda *args, **kwargs: _watched_copy(connection, method(*args, **kwargs))
    if name == "executescript":
        return lambda *args, **kwargs: _script(connection, lambda: method(*args, **kwargs))
    if name == "stream":
        # All of it at once: a generator could be left in the middle of its statement.
        return lambda *args, **kwargs: iter(call(connection, lambda: list(method(*args, **kwargs))))
    return lambda *args, **kwargs: call(connection, lambda: method(*args, **kwargs))


def _script(connection: BaseDatabaseWrapper, execute: Callable[[], Any]) -> Any:
    """SQLite commits what is open before it runs a script, whatever Django believes."""
    state = state_of(connection)
    if not state.in_transaction:
        return call(connection, execute)
    _record(state, ANYTHING)
    with transactions.perhaps_ending(connection, tags_of_effect(ANYTHING, connection)):
        return execute()


@contextmanager
def _watched_copy(
    connection: BaseDatabaseWrapper, copy: AbstractContextManager[Any]
) -> Iterator[Any]:
    """Psycopg's ``with cursor.copy(...) as copy``: the statement ends where the block does."""
    _record(state_of(connection), ANYTHING)
    with transactions.writing(connection, tags_of_effect(ANYTHING, connection)), copy as inside:
        yield inside


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
    if effect.control in {"commit", "rollback"}:
        ending = (
            transactions.committing if effect.control == "commit" else transactions.rolling_back
        )
        with ending(connection):
            result = execute()
        state.raw_transaction = effect.chains
        return result
    result = execute()
    if effect.control == "begin":
        state.raw_transaction = True
    if effect.control == "isolation" or effect.names_isolation:
        state.sight.vary()
    return result


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
