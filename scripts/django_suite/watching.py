"""Counts what the cache does while Django's tests run, asks everything a second time, and doubts every hit."""

import re
from collections import Counter, deque
from contextlib import contextmanager
from typing import Any

from django.db.models.sql.constants import SINGLE
from remembering import Memory

__all__ = ["results", "watch"]

_counts: Counter[str] = Counter()
_reasons: Counter[str] = Counter()
_wrong: list[str] = []
_running = [""]


class _Asked(Exception):
    """The database would have been asked."""


def results() -> dict[str, Any]:
    return {"counts": _counts, "reasons": dict(_reasons.most_common(100)), "wrong": _wrong}


def watch(remembered: int) -> None:
    """Watch from now on; the latest *remembered* queries of a class of tests are asked again after each write."""
    from django.test import SimpleTestCase

    from django_layercache.querysets import reads

    memory = Memory(remembered, _ask_again(reads._cached), _counts)
    memory.watch()
    reads._cached = _watched_cached(reads._cached, memory)
    reads._recorded = _watched_recorded(reads._recorded)
    reads._unknown = _watched_unknown(reads._unknown)
    run = SimpleTestCase.run
    tested: list[type | None] = [None]

    def run_test(self: Any, result: Any = None) -> Any:
        _running[0] = self.id()
        if type(self) is not tested[0]:
            memory.forget()
            tested[0] = type(self)
        return run(self, result)

    SimpleTestCase.run = run_test


def _note(kind: str, reason: str) -> None:
    _counts[kind] += 1
    # The tags that a reason names tell nothing about a suite.
    short = re.sub(r"(changed|transaction|snapshot|pending): .*", r"\1", reason, flags=re.DOTALL)
    _reasons[f"{kind}: {short}"[:110]] += 1


def _watched_unknown(original: Any) -> Any:
    def unknown(plan: Any, run: Any) -> Any:
        _note("dependencies unknown", plan.unknown)
        return original(plan, run)

    return unknown


def _watched_recorded(original: Any) -> Any:
    def recorded(plan: Any, run: Any, result_type: Any, chunked: bool) -> Any:
        _note("not cacheable", plan.uncacheable or ("chunked" if chunked else str(result_type)))
        return original(plan, run, result_type, chunked)

    return recorded


def _watched_cached(original: Any, memory: Memory) -> Any:
    def cached(plan: Any, policy: Any, run: Any, result_type: Any) -> Any:
        value, event = _ask(original, plan, policy, run, result_type)
        memory.add(plan, policy, run, result_type, _spelt(value, result_type))
        if event.outcome == "hit":
            _counts["hit"] += 1
            _doubt(plan, run, result_type, value)
            return value
        _note(event.outcome, event.reason)
        try:
            second, _ = _ask(original, plan, policy, _refuse, result_type)
        except _Asked:
            _counts["second time: asked" + _because(event.reason, plan)] += 1
            return value
        _counts["second time: served"] += 1
        if _spelt(value, result_type) != _spelt(second, result_type):
            _complain(plan, value, second)
        return value

    return cached


def _ask(cached: Any, *args: Any) -> tuple[Any, Any]:
    """What ``reads._cached`` returns, and what happened."""
    from django_layercache import trace

    with trace() as events:
        value = cached(*args)
    return value, events[-1]


def _ask_again(original: Any) -> Any:
    def ask_again(plan: Any, asked: Any, *, may_build: bool) -> tuple[bool, Any]:
        run = asked.run if may_build else _refuse
        try:
            with _unlogged(plan.compiler.connection):
                value, event = _ask(original, plan, asked.policy, run, asked.result_type)
        except _Asked:
            return False, None
        is_hit = event.outcome == "hit"
        if is_hit:
            _doubt(plan, asked.run, asked.result_type, value)
        return is_hit, _spelt(value, asked.result_type)

    return ask_again


def _because(reason: str, plan: Any) -> str:
    """Where it is right to ask again: the transaction has changed something, or sees something older."""
    from django_layercache.querysets.isolation import current_isolation

    isolation = current_isolation()
    is_changed = isolation and isolation.objection(dict.fromkeys(plan.tags, ""))
    return ", rightly" if is_changed or re.search(r"transaction|pending|snapshot", reason) else ""


def _refuse() -> Any:
    raise _Asked


def _doubt(plan: Any, run: Any, result_type: Any, value: Any) -> None:
    """Compare a hit with what the database says."""
    with _unlogged(plan.compiler.connection):
        try:
            truth = run()
            if result_type != SINGLE and truth is not None:
                truth = [list(rows) for rows in truth]
        except Exception as error:
            return _complain(plan, value, error)
    _counts["hits compared with the database"] += 1
    said, true = _spelt(value, result_type), _spelt(truth, result_type)
    if said != true:
        # Without an ORDER BY, a database may give another order each time.
        same_rows = isinstance(true, list) and sorted(map(repr, said)) == sorted(map(repr, true))
        if not same_rows:
            _complain(plan, said, true)
    return None


@contextmanager
def _unlogged(connection: Any) -> Any:
    """Nobody is to notice the queries inside."""
    saved = connection.queries_log, connection.execute_wrappers, connection.force_debug_cursor
    connection.queries_log, connection.execute_wrappers = deque(maxlen=9), []
    connection.force_debug_cursor = False
    try:
        yield
    finally:
        connection.queries_log, connection.execute_wrappers, connection.force_debug_cursor = saved


def _spelt(value: Any, result_type: Any) -> Any:
    """*value* such that types count, and how rows come in chunks does not."""
    if result_type == SINGLE:
        return None if value is None else [_spelt_row(value)]
    return [_spelt_row(row) for rows in value or () for row in rows]


def _spelt_row(row: Any) -> list[Any]:
    return [
        (type(item).__name__, bytes(item) if isinstance(item, memoryview) else repr(item))
        for item in row
    ]


def _complain(plan: Any, said: Any, truth: Any) -> None:
    _wrong.append(
        f"{_running[0]}\n    from the cache: {said!r:.500}\n    from the database: {truth!r:.500}"
        f"\n    {', '.join(plan.tags)}"
    )
