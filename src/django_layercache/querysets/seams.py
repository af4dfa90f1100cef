"""Every place where Django is patched, each with its reason. There are no others.

1. The SQL compilers: every statement of the ORM passes through ``execute_sql``, also those
   that send no signal (``update()``, bulk writes, fast deletes, m2m tables).
2. The connection: COMMIT, ROLLBACK, savepoints, close, and the cursors that raw SQL goes through;
   and the methods by which psycopg commits in two phases, as Django has none.
3. ``QuerySet`` gets the methods of :mod:`django_layercache.querysets.methods`;
   ``QuerySet._prefetch_related_objects`` lets the queries of ``prefetch_related`` follow the
   queryset's policy, which Django does not hand on.

The patches keep signatures, return types and errors; they connect no signal receiver.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models.manager import BaseManager
from django.db.models.query import QuerySet
from django.db.models.sql import compiler as compilers
from django.db.models.sql.constants import GET_ITERATOR_CHUNK_SIZE, MULTI

from django_layercache.querysets import (
    cursors,
    methods,
    policies,
    reads,
    rowcounts,
    transactions,
    triggered,
    twophase,
)
from django_layercache.querysets.comparing import look, to_look_at
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.isolation import has_begun
from django_layercache.querysets.watching import dealt_with, is_dealt_with, is_ours, not_dealt_with
from django_layercache.querysets.writes import tags_of_difference, tags_of_write

__all__ = ["install"]

_MARK = "_layercache_original"


def install() -> None:
    """Patch Django; a second call does nothing."""
    if hasattr(compilers.SQLCompiler.execute_sql, _MARK):
        return
    _install_compilers()
    _install_connections()
    _install_cursors()
    _install_querysets()


def _patch(owner: type, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace the method *name* of *owner* by the decorated function, which gets the original first."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        original = getattr(owner, name)

        @functools.wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        setattr(patched, _MARK, original)
        setattr(owner, name, patched)
        return function

    return decorate


# -- 1. compilers -------------------------------------------------------------------------------


def _install_compilers() -> None:
    @_patch(compilers.SQLCompiler, "execute_sql")
    def execute_read_or_delete(
        original: Any,
        self: Any,
        result_type: Any = MULTI,
        chunked_fetch: bool = False,
        chunk_size: int = GET_ITERATOR_CHUNK_SIZE,
    ) -> Any:
        def run() -> Any:
            return original(self, result_type, chunked_fetch, chunk_size)

        if isinstance(self, compilers.SQLDeleteCompiler):
            # What refers to the rows may still be there, until COMMIT checks that.
            transactions.disturbing(_connected(self), self.query.get_meta().db_table)
            return _execute_write(lambda self: run(), self)
        if isinstance(self, compilers.SQLUpdateCompiler):
            return run()  # called by the one below, inside of its own
        if self.query.explain_info is not None:
            return run()
        return reads.read(self, result_type, chunked_fetch, run)

    _patch(compilers.SQLInsertCompiler, "execute_sql")(_execute_insert)
    _patch(compilers.SQLUpdateCompiler, "execute_sql")(_execute_update)
    if hasattr(compilers.SQLUpdateCompiler, "execute_returning_sql"):  # Django 6.1

        @_patch(compilers.SQLUpdateCompiler, "execute_returning_sql")
        def execute_returning(original: Any, self: Any, returning_fields: Any) -> Any:
            if returning_fields and self.connection.features.can_return_rows_from_update:
                return _execute_update(original, self, returning_fields)
            return original(self, returning_fields)  # calls the other one


def _execute_write(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    connection = _connected(self)
    is_triggered = triggered.may_be(self.query.get_meta().db_table, connection)
    changed = tags_of_write(self, is_triggered=is_triggered)
    try:
        # A trigger may do something else instead, and say that no row was changed.
        with transactions.writing(connection, changed, is_counted=not is_triggered):
            return original(self, *args, **kwargs)
    finally:
        triggered.learn(connection)


def _execute_update(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    connection = _connected(self)
    is_watched = not is_ours() and not triggered.may_be(self.query.get_meta().db_table, connection)
    rows = to_look_at(self) if is_watched else ()
    if not rows or not transactions.may_be_of_its_own(connection):
        return _execute_write(original, self, *args, **kwargs)
    with transactions.of_its_own(connection):
        before = look(self, rows)
        with transactions.comparing(
            connection,
            lambda count: tags_of_difference(self, before.difference(count) if before else None),
            lambda: tags_of_write(self, is_triggered=False),
        ):
            return original(self, *args, **kwargs)


def _execute_insert(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    transactions.disturbing(_connected(self), self.query.get_meta().db_table)
    return _execute_write(original, self, *args, **kwargs)


def _connected(compiler: Any) -> BaseDatabaseWrapper:
    """Its connection, open, so that it is known whether a transaction is."""
    connection: BaseDatabaseWrapper = compiler.connection
    if connection.connection is None:
        connection.ensure_connection()
    return connection


# -- 2. connections -----------------------------------------------------------------------------


def _install_connections() -> None:
    @_patch(BaseDatabaseWrapper, "commit")
    def commit(original: Any, self: Any) -> Any:
        if self.in_atomic_block:
            return original(self)  # raises
        with transactions.committing(self):
            return original(self)

    @_patch(BaseDatabaseWrapper, "rollback")
    def rollback(original: Any, self: Any) -> Any:
        if self.in_atomic_block:
            return original(self)  # raises
        with transactions.rolling_back(self):
            return original(self)

    _install_savepoints()

    # The SQLite backend overrides it, and does not call this one where it keeps an in-memory
    # database open.
    @_patch(BaseDatabaseWrapper, "close")
    def close(original: Any, self: Any) -> Any:
        with transactions.closing(self):
            return original(self)

    # So that the driver's two-phase commits are known for what they are.
    @_patch(BaseDatabaseWrapper, "connect")
    def connect(original: Any, self: Any) -> Any:
        original(self)
        _install_two_phases(self)

    # Turning autocommit on commits what is open (SQLite, MySQL), by no call of commit().
    @_patch(BaseDatabaseWrapper, "set_autocommit")
    def set_autocommit(
        original: Any,
        self: Any,
        autocommit: bool,
        force_begin_transaction_with_broken_autocommit: bool = False,
    ) -> Any:
        arguments = (self, autocommit, force_begin_transaction_with_broken_autocommit)
        if autocommit and not self.in_atomic_block and state_of(self).in_transaction:
            with transactions.committing(self):
                return original(*arguments)
        result = original(*arguments)
        if not autocommit:
            has_begun(state_of(self))
        return result


def _install_two_phases(connection: BaseDatabaseWrapper) -> None:
    driver = type(connection.connection)
    method = getattr(driver, "tpc_commit", None)
    if not inspect.isfunction(method):
        return  # neither psycopg, nor one whose methods can be replaced
    twophase.know(connection)
    if not hasattr(method, _MARK):
        _patch(driver, "tpc_prepare")(twophase.prepare)
        _patch(driver, "tpc_commit")(twophase.commit)
        _patch(driver, "tpc_rollback")(twophase.roll_back)


def _install_savepoints() -> None:
    # What is rolled back to a savepoint has changed nothing. (In raw SQL nobody knows which savepoint it is.)
    @_patch(BaseDatabaseWrapper, "savepoint")
    def savepoint(original: Any, self: Any) -> Any:
        sid = original(self)
        if sid is not None:
            state_of(self).remember_savepoint(sid)
        return sid

    @_patch(BaseDatabaseWrapper, "savepoint_rollback")
    def savepoint_rollback(original: Any, self: Any, sid: Any) -> Any:
        result = original(self, sid)
        state_of(self).return_to_savepoint(sid)
        return result

    @_patch(BaseDatabaseWrapper, "savepoint_commit")
    def savepoint_commit(original: Any, self: Any, sid: Any) -> Any:
        result = original(self, sid)
        state_of(self).savepoints.pop(sid, None)
        return result


def _install_cursors() -> None:
    # Wrappers (connection.execute_wrapper) may run SQL of their own around a compiler's.
    @_patch(CursorWrapper, "_execute_with_wrappers")
    def execute_with_wrappers(  # noqa: PLR0917 - as Django has them
        original: Any, self: Any, sql: Any, params: Any, many: Any, executor: Any
    ) -> Any:
        if not self.db.execute_wrappers or not is_dealt_with() or is_ours():
            return original(self, sql, params, many, executor)

        def execute_dealt_with(*args: Any) -> Any:
            with dealt_with():
                return executor(*args)

        with not_dealt_with():
            return original(self, sql, params, many, execute_dealt_with)

    @_patch(CursorWrapper, "_execute")
    def execute(original: Any, self: Any, sql: Any, params: Any, *rest: Any) -> Any:
        def run() -> Any:
            result = original(self, sql, params, *rest)
            rowcounts.note(self.cursor)
            return result

        return cursors.run(self.db, sql, run)

    @_patch(CursorWrapper, "_executemany")
    def executemany(original: Any, self: Any, sql: Any, param_list: Any, *rest: Any) -> Any:
        return cursors.run(self.db, sql, lambda: original(self, sql, param_list, *rest))

    # psycopg's COPY, SQLite's scripts: they reach the driver's cursor by name.
    @_patch(CursorWrapper, "__getattr__")
    def get_attribute(original: Any, self: Any, attr: str) -> Any:
        value = original(self, attr)
        return cursors.watched(self.db, attr, value) if attr in cursors.UNWATCHED else value

    @_patch(CursorWrapper, "callproc")
    def callproc(
        original: Any, self: Any, procname: Any, params: Any = None, kparams: Any = None
    ) -> Any:
        return cursors.call(
            self.db, str(procname), lambda: original(self, procname, params, kparams)
        )


# -- 3. querysets -------------------------------------------------------------------------------


def _install_querysets() -> None:
    for method in methods.PUBLIC:
        method.queryset_only = True  # type: ignore[attr-defined]  # managers have their own:
        setattr(QuerySet, method.__name__, method)
        setattr(BaseManager, method.__name__, _by_manager(method))

    @_patch(QuerySet, "_prefetch_related_objects")
    def prefetch_related_objects(original: Any, self: Any) -> Any:
        policy = policies.own_policy(self.query)
        if policy is None:
            return original(self)
        with policies.in_block(policy):
            return original(self)


def _by_manager(method: Callable[..., Any]) -> Callable[..., Any]:
    """*method* of the manager's queryset, or what a subclass has in its place."""

    @functools.wraps(method)
    def by_manager(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.get_queryset(), method.__name__)(*args, **kwargs)

    return by_manager
