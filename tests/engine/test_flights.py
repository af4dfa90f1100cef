"""Of all who miss the same key at once, one builds."""

import asyncio
import threading
import time

import pytest

from django_layercache.engine import Engine
from django_layercache.engine.flights import Flights
from tests.engine.tools import Builder, FailingStore, RemoteStore, change, recipe
from tests.stores.test_contract import hammer

MANY = 8


class Gate:
    """Lets a builder stop until the test says so."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def pass_through(self) -> None:
        self.entered.set()
        assert self.opened.wait(10)


def waiting(engine: Engine, store: FailingStore, readers: int) -> None:
    """Return when *readers* have asked the store."""
    end = time.monotonic() + 10
    while store.asked.count("read") < readers:
        assert time.monotonic() < end
        time.sleep(0.001)
    time.sleep(0.01)


def test_one_thread_builds_and_the_others_get_what_it_stored(
    engine: Engine, store: FailingStore
) -> None:
    gate, builder, values = Gate(), Builder(), []

    def build() -> str:
        gate.pass_through()
        return builder()

    def ask() -> None:
        values.append(engine.get_or_build(recipe("k", "a"), build))

    def open_when_all_wait() -> None:
        waiting(engine, store, MANY)
        gate.opened.set()

    hammer(*[ask] * MANY, open_when_all_wait)
    assert values == ["built 1"] * MANY
    assert builder.calls == 1


@pytest.mark.parametrize("store_class", (FailingStore, RemoteStore))
def test_one_task_builds_and_the_others_get_what_it_stored(
    store_class: type[FailingStore],
) -> None:
    engine, builder = Engine(store_class(), jitter=0.0), Builder()

    async def build() -> str:
        await asyncio.sleep(0.05)
        return builder()

    async def all_at_once() -> list[str]:
        return await asyncio.gather(
            *(engine.aget_or_build(recipe("k", "a"), build) for _ in range(MANY))
        )

    assert asyncio.run(all_at_once()) == ["built 1"] * MANY
    assert builder.calls == 1


def test_tasks_of_other_loops_wait_for_a_thread(engine: Engine, store: FailingStore) -> None:
    gate, builder, values = Gate(), Builder(), []

    def build() -> str:
        gate.pass_through()
        return builder()

    def ask() -> None:
        values.append(engine.get_or_build(recipe(), build))

    def ask_in_a_loop() -> None:
        assert gate.entered.wait(10)
        values.append(asyncio.run(engine.aget_or_build(recipe(), builder.asynchronously)))

    def open_when_all_wait() -> None:
        waiting(engine, store, 4)
        gate.opened.set()

    hammer(ask, ask_in_a_loop, ask_in_a_loop, ask_in_a_loop, open_when_all_wait)
    assert values == ["built 1"] * 4


def test_who_waited_for_a_builder_that_failed_builds_for_himself(
    engine: Engine, store: FailingStore
) -> None:
    gate, outcomes = Gate(), []

    def fail() -> str:
        gate.pass_through()
        raise LookupError

    def ask_first() -> None:
        with pytest.raises(LookupError):
            engine.get_or_build(recipe(), fail)

    def ask() -> None:
        assert gate.entered.wait(10)
        outcomes.append(engine.get_or_build(recipe(), Builder("mine")))

    def open_when_all_wait() -> None:
        waiting(engine, store, 4)
        gate.opened.set()

    hammer(ask_first, ask, ask, ask, open_when_all_wait)
    assert outcomes == ["mine"] * 3


def test_who_waited_gets_what_is_fresh_for_him(engine: Engine, store: FailingStore) -> None:
    """He asked after the commit; the one in front had read before it."""
    gate, values = Gate(), []

    def build_old() -> str:
        gate.pass_through()
        return "old"

    def ask_first() -> None:
        values.append(engine.get_or_build(recipe("k", "a"), build_old))

    def change_and_ask() -> None:
        assert gate.entered.wait(10)
        change(engine, "a")
        values.append(engine.get_or_build(recipe("k", "a"), Builder("new")))

    def open_when_all_wait() -> None:
        waiting(engine, store, 2)
        gate.opened.set()

    hammer(ask_first, change_and_ask, open_when_all_wait)
    assert sorted(values) == ["new", "old"]
    assert engine.get_or_build(recipe("k", "a"), Builder("newer")) == "new"


def test_a_builder_that_needs_its_own_key_does_not_wait_for_itself(engine: Engine) -> None:
    def build() -> str:
        return "outer " + engine.get_or_build(recipe(), Builder("inner"))

    started = time.monotonic()
    assert engine.get_or_build(recipe(), build) == "outer inner"
    assert time.monotonic() - started < 5


def test_a_builder_that_needs_its_own_key_in_a_thread_does_not_wait_for_itself(
    engine: Engine,
) -> None:
    async def build() -> str:
        return await asyncio.to_thread(engine.get_or_build, recipe(), Builder("inner"))

    started = time.monotonic()
    assert asyncio.run(engine.aget_or_build(recipe(), build)) == "inner"
    assert time.monotonic() - started < 5


def test_builders_that_wait_for_each_other_end_when_one_is_out_of_patience(
    engine: Engine,
) -> None:
    engine._flights = Flights(patience=0.1)
    both = threading.Barrier(2)
    values = []

    def ask(mine: str, other: str) -> None:
        def build() -> str:
            both.wait(10)
            return f"{mine} of " + engine.get_or_build(recipe(other), Builder(other))

        values.append(engine.get_or_build(recipe(mine), build))

    hammer(lambda: ask("a", "b"), lambda: ask("b", "a"))
    assert len(values) == 2
    assert all(value.startswith(("a of", "b of")) for value in values)


def test_one_who_holds_locks_does_not_wait(engine: Engine, store: FailingStore) -> None:
    """The one in front may be waiting for them."""

    class Writing:
        has_written = True

        def objection(self, states: object) -> None:
            return None

        must_read = objection

    gate = Gate()
    values: list[str] = []

    def build() -> str:
        gate.pass_through()
        return "first"

    def ask_inside_a_transaction() -> None:
        assert gate.entered.wait(10)
        engine.isolation = Writing
        values.append(engine.get_or_build(recipe(), Builder("second")))
        gate.opened.set()

    hammer(lambda: engine.get_or_build(recipe(), build), ask_inside_a_transaction)
    assert values == ["second"]


def test_a_cancelled_task_in_front_lets_the_others_go_on(engine: Engine) -> None:
    async def main() -> str:
        async def never() -> str:
            await asyncio.sleep(60)
            return "never"

        first = asyncio.create_task(engine.aget_or_build(recipe(), never))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(
            engine.aget_or_build(recipe(), Builder("second").asynchronously)
        )
        await asyncio.sleep(0.01)
        first.cancel()
        return await second

    assert asyncio.run(main()) == "second"


def test_a_cancelled_task_that_waits_leaves_the_one_in_front_alone(engine: Engine) -> None:
    async def main() -> str:
        async def slow() -> str:
            await asyncio.sleep(0.05)
            return "first"

        first = asyncio.create_task(engine.aget_or_build(recipe(), slow))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(engine.aget_or_build(recipe(), slow))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        return await first

    assert asyncio.run(main()) == "first"


def test_no_flight_is_left_behind(engine: Engine) -> None:
    engine.get_or_build(recipe("a"), Builder())
    with pytest.raises(LookupError):
        engine.get_or_build(recipe("b"), Builder(LookupError()))
    asyncio.run(engine.aget_or_build(recipe("c"), Builder().asynchronously))
    assert engine._flights._flights == {}
