"""The engine against a plain dictionary: whatever is asked, in whatever order, the answer is what the dictionary says.

One thread, so there is no interleaving here (tests/engine/test_interleavings.py has that); instead there is everything
else at once: nesting, several dependencies, transactions that are open while others are read, failing builders, values
that are ``None``, timeouts, eviction, resets, bypasses.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_layercache.engine import Engine, Recipe, Write, trace, without_cache
from django_layercache.handlers import pool_of
from django_layercache.stores.memcached_commands import Delete, Set
from tests.services import MemcachedServer
from tests.stores.clocks import Clock, LocalClock, MemcachedClock, RedisClock

TAGS = ["a", "b", "c", "d"]
LEASE = 30.0

tags = st.sampled_from(TAGS)
some_tags = st.lists(tags, min_size=1, max_size=3, unique=True).map(sorted)
#: What is asked for: tags that are known beforehand, tags that are read while it is built, and what is nested in it.
Plan = tuple[tuple[str, ...], tuple[str, ...], tuple["Plan", ...]]
ROW: Plan = (("a",), (), ())
LIST: Plan = ((), ("a", "b"), ())
SIDEBAR: Plan = (("c",), ("d",), ())
FRAGMENT: Plan = ((), ("b",), (ROW,))
PAGE: Plan = ((), ("d",), (FRAGMENT, SIDEBAR))
SITE: Plan = (("d",), (), (PAGE, LIST))
plans = st.sampled_from([ROW, LIST, SIDEBAR, FRAGMENT, PAGE, SITE])


class ReprCodec:
    """Any plain value."""

    def dumps(self, value: Any) -> bytes:
        return repr(value).encode()

    def loads(self, data: bytes) -> Any:
        from ast import literal_eval

        return literal_eval(data.decode())


class BuildFailed(Exception):
    """A builder did."""


class Connection:
    """A transaction: what it has changed and not committed, as an Isolation."""

    def __init__(self, write: Write) -> None:
        self.write = write
        self.changes: dict[str, int | None] = {}
        #: A COMMIT that outlives the lease is one that failed: the protocol presumes no other.
        self.overdue = False

    @property
    def has_written(self) -> bool:
        return bool(self.changes)

    def objection(self, states: Any) -> str | None:
        return "dirty" if not self.write.dirty.isdisjoint(states) else None

    def must_read(self, states: Any) -> None:
        return None


class EngineMachine(RuleBasedStateMachine):
    """One process; ``database`` is the oracle."""

    make_clock: Callable[[], Clock]
    transactions = Bundle("transactions")
    marked = Bundle("marked")

    def __init__(self) -> None:
        super().__init__()
        self.clock = type(self).make_clock()
        self.current: Connection | None = None
        self.engine = Engine(
            self.clock.store,
            isolation=lambda: self.current,
            lease=LEASE,
            jitter=0.0,
            max_entry_bytes=2000,
        )
        self.database: dict[str, int | None] = dict.fromkeys(TAGS)
        self.about_to_commit: list[Connection] = []
        self.hits = 0

    def teardown(self) -> None:
        self.clock.store.close()
        TOTAL["hits"] += self.hits

    # -- reading --------------------------------------------------------------------------

    def select(self, tag: str) -> int | None:
        changes = self.current.changes if self.current is not None else {}
        return changes.get(tag, self.database[tag])

    def truth(self, plan: Plan) -> Any:
        known, read, inner = plan
        return (*map(self.select, known), *map(self.select, read), *map(self.truth, inner))

    def recipe(self, plan: Plan, timeout: float | None = 300.0) -> Recipe:
        return Recipe("tests", repr(plan), ReprCodec(), timeout, tuple(plan[0]))

    def build(self, plan: Plan, fails: bool = False) -> Any:
        known, read, inner = plan
        value = [self.select(tag) for tag in known]
        value += [self.engine.record([tag], lambda tag=tag: self.select(tag)) for tag in read]
        value += [
            self.engine.get_or_build(self.recipe(part), lambda part=part: self.build(part))
            for part in inner
        ]
        if fails:
            raise BuildFailed
        return tuple(value)

    @contextmanager
    def inside(self, transaction: Connection | None) -> Iterator[None]:
        self.current = transaction
        try:
            with trace() as events:
                yield
        finally:
            self.current = None
            self.hits += sum(event.outcome == "hit" for event in events)

    @rule(plan=plans, timeout=st.sampled_from([None, 0, 300.0]))
    def get(self, plan: Plan, timeout: float | None) -> None:
        with self.inside(None):
            recipe = self.recipe(plan, timeout)
            assert self.engine.get_or_build(recipe, lambda: self.build(plan)) == self.truth(plan)

    @rule(plan=plans, transaction=transactions)
    def get_inside_a_transaction(self, plan: Plan, transaction: Connection) -> None:
        with self.inside(transaction):
            value = self.engine.get_or_build(self.recipe(plan), lambda: self.build(plan))
            assert value == self.truth(plan)

    @rule(several=st.lists(plans, max_size=4, unique=True))
    def get_many(self, several: list[Plan]) -> None:
        with self.inside(None):
            requests = [(self.recipe(plan), lambda plan=plan: self.build(plan)) for plan in several]
            assert self.engine.get_many(requests) == [self.truth(plan) for plan in several]

    @rule(plan=plans)
    def refresh(self, plan: Plan) -> None:
        with self.inside(None):
            value = self.engine.refresh(self.recipe(plan), lambda: self.build(plan))
            assert value == self.truth(plan)

    @rule(plan=plans)
    def get_without_cache(self, plan: Plan) -> None:
        with self.inside(None), without_cache(), trace() as events:
            value = self.engine.get_or_build(self.recipe(plan), lambda: self.build(plan))
            assert value == self.truth(plan)
            assert {event.outcome for event in events} == {"bypass"}

    @rule(plan=plans)
    def fail_to_build(self, plan: Plan) -> None:
        with self.inside(None):
            try:
                value = self.engine.get_or_build(
                    self.recipe(plan), lambda: self.build(plan, fails=True)
                )
            except BuildFailed:
                return
            assert value == self.truth(plan)

    @rule(plan=plans, tag=tags)
    def write_while_building(self, plan: Plan, tag: str) -> None:
        def build() -> Any:
            value = self.build(plan)
            self.commit_at_once(tag, 77)
            return value

        before = self.truth(plan)
        with self.inside(None):
            assert self.engine.get_or_build(self.recipe(plan), build) == before

    # -- writing --------------------------------------------------------------------------

    def commit_at_once(self, tag: str, value: int | None) -> None:
        write = self.engine.new_write()
        write.touch([tag])
        write.mark()
        self.database[tag] = value
        write.release()

    @rule(tag=tags, value=st.none() | st.integers(0, 5))
    def write_in_autocommit(self, tag: str, value: int | None) -> None:
        self.commit_at_once(tag, value)

    @rule(target=transactions, changed=some_tags, value=st.none() | st.integers(0, 5))
    def begin(self, changed: list[str], value: int | None) -> Connection:
        transaction = Connection(self.engine.new_write())
        self.change(transaction, changed, value)
        return transaction

    @rule(transaction=transactions, changed=some_tags, value=st.none() | st.integers(0, 5))
    def change(self, transaction: Connection, changed: list[str], value: int | None) -> None:
        transaction.write.touch(changed)
        transaction.changes.update(dict.fromkeys(changed, value))

    @rule(transaction=consumes(transactions))
    def roll_back(self, transaction: Connection) -> None:
        transaction.write.forget()

    @rule(transaction=consumes(transactions), target=marked)
    def mark(self, transaction: Connection) -> Connection:
        transaction.write.mark()
        self.about_to_commit.append(transaction)
        return transaction

    @rule(transaction=consumes(marked))
    def commit(self, transaction: Connection) -> None:
        self.finish(transaction)
        transaction.write.release()

    @rule(transaction=consumes(marked))
    def fail_to_commit(self, transaction: Connection) -> None:
        self.about_to_commit.remove(transaction)
        transaction.write.release()

    @rule(transaction=consumes(marked))
    def die_after_the_commit(self, transaction: Connection) -> None:
        """The lease takes care of the rest, as it does of a writer that dies before, and never comes back."""
        self.finish(transaction)

    def finish(self, transaction: Connection) -> None:
        self.about_to_commit.remove(transaction)
        if not transaction.overdue:
            self.database.update(transaction.changes)

    # -- the environment ------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, LEASE + 1, 301.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if seconds > LEASE:
            self.expect_no_commit()

    def expect_no_commit(self) -> None:
        for transaction in self.about_to_commit:
            transaction.overdue = True

    @rule(tag=tags)
    def evict(self, tag: str) -> None:
        if isinstance(self.clock, RedisClock):
            self.clock.client.delete(f"{self.clock.prefix}t:{tag}")
        elif isinstance(self.clock, MemcachedClock):
            self.clock.ask(Delete(self.clock.keys.tag(tag)))
        else:
            self.clock.store._tokens.pop(tag, None)

    @rule(plan=plans)
    def drop(self, plan: Plan) -> None:
        self.clock.store.delete(self.recipe(plan).key)

    @rule(plan=plans, data=st.binary())
    @precondition(lambda self: not isinstance(self.clock, LocalClock))
    def tamper(self, plan: Plan, data: bytes) -> None:
        if isinstance(self.clock, MemcachedClock):
            self.clock.ask(Set(self.clock.keys.entry(self.recipe(plan).key), data))
            return
        self.clock.client.set(f"{self.clock.prefix}e:{self.recipe(plan).key}", data)

    @rule()
    @precondition(lambda self: not isinstance(self.clock, LocalClock))
    def lose_everything(self) -> None:
        if isinstance(self.clock, MemcachedClock):
            self.clock.ask(Delete(self.clock.keys.head))
        else:
            for key in self.clock.held():
                self.clock.client.delete(key)
        self.expect_no_commit()  # the grace is 0 here: it is shorter than any COMMIT

    @rule()
    def distrust(self) -> None:
        self.engine.distrust()

    @invariant()
    def the_store_was_never_away(self) -> None:
        assert not self.engine.outages.in_debt


TOTAL = {"hits": 0}


def run(make_clock: Callable[[], Clock], examples: int) -> None:
    machine = type("Machine", (EngineMachine,), {"make_clock": staticmethod(make_clock)})
    TOTAL["hits"] = 0
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None)
    )
    assert TOTAL["hits"] >= examples / 2, "hardly anything was a hit"


EXAMPLES = int(os.environ.get("LAYERCACHE_EXAMPLES") or 150)


def test_the_engine_on_a_local_store_answers_like_a_dictionary() -> None:
    run(LocalClock, EXAMPLES)


def test_the_engine_on_a_small_local_store_answers_like_a_dictionary() -> None:
    run(lambda: LocalClock(max_bytes=4000, max_tags=3), EXAMPLES // 2)


@pytest.mark.parametrize("alias", ("redis", "django_redis"))
def test_the_engine_on_a_redis_store_answers_like_a_dictionary(
    redis_server: object, alias: str
) -> None:
    run(lambda: RedisClock(pool_of(caches[alias])), EXAMPLES // 6)


def test_the_engine_on_a_memcached_store_answers_like_a_dictionary(
    memcached_server: MemcachedServer,
) -> None:
    run(lambda: MemcachedClock(memcached_server), EXAMPLES // 10)
