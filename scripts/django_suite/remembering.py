"""Asks again, after each write, commit and rollback, what the running tests have asked so far.

A suite asks little twice. This makes of each of its writes a question to each of the answers before it: what still
comes from the cache has to be what the database says now.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Memory"]


@dataclass
class Asked:
    """A query, and what it returned last; ``run`` asks the database."""

    compiler: Any
    statement: tuple[str, Any]
    policy: Any
    run: Callable[[], Any]
    result_type: Any
    said: Any


class Memory:
    """The latest *most* queries. *ask_again* says whether an answer came from the cache, and what it was."""

    def __init__(
        self, most: int, ask_again: Callable[..., tuple[bool, Any]], counts: Counter[str]
    ) -> None:
        self._most = most
        self._ask_again = ask_again
        self._counts = counts
        self._asked: dict[str, Asked] = {}
        self._statement: tuple[Any, Any] = (None, None)
        self._is_asking = False

    def watch(self) -> None:
        from django.db.backends.base.base import BaseDatabaseWrapper

        from django_layercache.querysets import reads, transactions

        self._plan_of = reads.plan_of
        reads.plan_of = self._plan_and_note
        for name in ("writing", "committing", "rolling_back", "perhaps_ending"):
            setattr(transactions, name, self._then_ask(getattr(transactions, name)))
        set_autocommit = BaseDatabaseWrapper.set_autocommit

        def set_autocommit_and_ask(
            connection: Any, autocommit: bool, *args: Any, **kwargs: Any
        ) -> None:
            set_autocommit(connection, autocommit, *args, **kwargs)
            self._ask(connection)

        BaseDatabaseWrapper.set_autocommit = set_autocommit_and_ask
        connect = BaseDatabaseWrapper.connect

        def connect_unasked(connection: Any) -> None:
            """A connection that is being made does not show times as it will."""
            was_asking, self._is_asking = self._is_asking, True
            try:
                connect(connection)
            finally:
                self._is_asking = was_asking

        BaseDatabaseWrapper.connect = connect_unasked

    def _plan_and_note(self, compiler: Any, sql: str, params: Any) -> Any:
        plan = self._plan_of(compiler, sql, params)
        self._statement = plan, (sql, params)
        return plan

    def forget(self) -> None:
        self._asked.clear()

    def add(self, plan: Any, policy: Any, run: Any, result_type: Any, said: Any) -> None:
        """*plan* has been asked, and the answer was *said*."""
        planned, statement = self._statement
        if planned is not plan or self._is_asking:
            return
        key = f"{plan.key}:{result_type}"
        self._asked.pop(key, None)
        self._asked[key] = Asked(plan.compiler, statement, policy, run, result_type, said)
        if len(self._asked) > self._most:
            del self._asked[next(iter(self._asked))]

    def _then_ask(self, around: Any) -> Any:
        @contextmanager
        def around_and_ask(connection: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
            with around(connection, *args, **kwargs):
                yield
            self._ask(connection)

        return around_and_ask

    def _ask(self, connection: Any) -> None:
        from django_layercache.querysets.connections import state_of
        from django_layercache.querysets.watching import is_ours, not_dealt_with

        if self._is_asking or is_ours() or connection.needs_rollback:
            return
        if not connection.autocommit and not connection.in_atomic_block:
            return  # a question would begin a transaction that nobody ends
        is_inside = state_of(connection).in_transaction
        self._is_asking = True
        try:
            with not_dealt_with():
                for key, asked in list(self._asked.items()):
                    if asked.compiler.connection is not connection:
                        continue
                    if not self._can_be_asked(asked, is_inside=is_inside):
                        self._asked.pop(key, None)
        finally:
            self._is_asking = False

    def _can_be_asked(self, asked: Asked, *, is_inside: bool) -> bool:
        """Ask it. In a transaction, which an error would break, the store alone is asked."""
        plan = self._plan_of(asked.compiler, *asked.statement)
        if plan.unknown or plan.uncacheable:
            return False
        try:
            is_hit, said = self._ask_again(plan, asked, may_build=not is_inside)
        except Exception:  # the table is gone, say
            return False
        if is_inside:
            self._counts[f"inside a transaction: {'served' if is_hit else 'not served'}"] += 1
            return True
        built = "rebuilt, as it was" if said == asked.said else "rebuilt, changed"
        outcome = "served" if is_hit else built
        self._counts[f"after a commit: {outcome}"] += 1
        asked.said = said
        return True
