"""The read path: what a compiler returns comes from the store, or goes through the recorder."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.constants import MULTI, SINGLE
from django.utils.asyncio import async_unsafe

from django_layercache.engine import Recipe, recording_scope
from django_layercache.handlers import get_engine
from django_layercache.querysets import policies, triggered
from django_layercache.querysets.connections import state_of
from django_layercache.querysets.limits import codec_for
from django_layercache.querysets.plans import Plan, plan_of
from django_layercache.querysets.replicas import behind
from django_layercache.querysets.watching import dealt_with, is_ours
from django_layercache.serializers.sharing import size_of_rows
from django_layercache.stores.base import TokenState
from django_layercache.timeouts import in_force

__all__ = ["read", "recipe_of"]

LAYER = "querysets"
_ENSURE_CONNECTION = BaseDatabaseWrapper.ensure_connection


def read(
    compiler: SQLCompiler, result_type: str | None, chunked: bool, run: Callable[[], Any]
) -> Any:
    """What ``execute_sql`` of *compiler* returns; *run* is Django's own."""
    policy = policies.policy_of(compiler.query, result_type)
    if (policy is None and recording_scope() is None) or is_ours():
        return _run(run)
    if compiler.connection.needs_rollback:
        return _run(run)  # which raises, cache or no cache: the transaction is broken
    statement = _compiled(compiler)
    if statement is None:
        return _run(run)
    _raise_if_forbidden(compiler.connection)
    plan = plan_of(compiler, *statement)
    watched = _with_statement(compiler, statement, run)
    if plan.unknown is not None:
        return _unknown(plan, watched)
    if policy is None or plan.uncacheable or chunked or result_type not in {MULTI, SINGLE}:
        return _recorded(plan, watched, result_type, chunked)
    return _cached(plan, policy, watched, result_type)


def recipe_of(plan: Plan, policy: policies.Policy, result_type: str) -> Recipe:
    """What the engine is told of the result of *plan*."""
    return Recipe(
        LAYER,
        f"{plan.key}:{result_type}",
        codec_for(policy),
        in_force(policy.timeout),
        plan.tags,
        plan.settle,
        late=plan.late if plan.may_have_late_tags else None,
        size_of=size_of_rows,
        hand_out=list,
    )


def _cached(plan: Plan, policy: policies.Policy, run: Callable[[], Any], result_type: str) -> Any:
    recipe = recipe_of(plan, policy, result_type)
    rows = get_engine().get_or_build(recipe, lambda: _as_rows(_fresh(plan, run), result_type))
    if result_type == SINGLE:
        return rows[0] if rows else None
    return [rows] if rows else []


def _recorded(plan: Plan, run: Callable[[], Any], result_type: str | None, chunked: bool) -> Any:
    """Not cached itself; what encloses it depends on it all the same."""
    if chunked or result_type not in {MULTI, SINGLE}:
        return get_engine().record(plan.tags, run, behind=_behind(plan))
    late = plan.late if plan.may_have_late_tags else None
    return get_engine().record(
        plan.tags,
        run,
        lambda result: plan.settle(_as_rows(result, result_type)),
        late and (lambda result: late(_as_rows(result, result_type))),
        _behind(plan),
    )


def _fresh(plan: Plan, run: Callable[[], Any]) -> Any:
    """What *run* returns, to be stored; unless it comes from a replica that lags."""
    is_behind, scope = _behind(plan), recording_scope()
    if is_behind is not None and scope is not None:
        scope.observe({}, is_behind(scope.states))
    return run()


def _behind(plan: Plan) -> Callable[[Mapping[str, TokenState]], str | None] | None:
    return behind(state_of(plan.compiler.connection))


def _unknown(plan: Plan, run: Callable[[], Any]) -> Any:
    scope = recording_scope()
    if scope is not None:
        scope.forbid(f"a query's dependencies are not known: {plan.unknown}")
    return run()


def _as_rows(result: Any, result_type: str | None) -> list[Any]:
    if result_type == SINGLE:
        return [tuple(result)] if result else []
    return list(chain.from_iterable(result))


@async_unsafe
def _raise_if_forbidden(connection: BaseDatabaseWrapper) -> None:
    """Raise what the database would, where it may not be asked: an answer from the store would hide that.

    It may not from an event loop's thread. And Django's test cases put something that raises
    in the place of an open connection's ``cursor()``, and of ``ensure_connection()`` for those
    that are not open.
    """
    cursor = connection.__dict__.get("cursor")
    if cursor is not None and type(cursor).__name__ == "_DatabaseFailure":
        cursor()
    if (
        connection.connection is None
        and BaseDatabaseWrapper.ensure_connection is not _ENSURE_CONNECTION
    ):
        connection.ensure_connection()


def _compiled(compiler: SQLCompiler) -> tuple[str, Any] | None:
    """The statement, or ``None`` if Django is going to say without asking the database."""
    try:
        sql, params = compiler.as_sql()
    except (EmptyResultSet, FullResultSet):
        return None
    return (sql, params) if sql else None


def _with_statement(
    compiler: SQLCompiler, statement: tuple[str, Any], run: Callable[[], Any]
) -> Callable[[], Any]:
    """*run*, without compiling a second time what has just been compiled."""

    def run_once() -> Any:
        compiler.__dict__["as_sql"] = lambda *args, **kwargs: statement
        try:
            return _run(run)
        finally:
            del compiler.__dict__["as_sql"]
            triggered.learn(compiler.connection)

    return run_once


def _run(run: Callable[[], Any]) -> Any:
    with dealt_with():
        return run()
