"""What one reader gets, and what it leaves in the store."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from django_layercache.engine import Engine, Recipe, current_scope, trace, without_cache
from django_layercache.engine.payloads import Payloads
from django_layercache.stores.local import LocalStore
from tests.engine.tools import Builder, FailingStore, RemoteStore, change, recipe

Get = Callable[[Recipe, Builder], Any]


@pytest.fixture(params=("sync", "async", "async, off the loop"))
def engine(request: pytest.FixtureRequest) -> Engine:
    """An engine, once for each way to ask it; ``ask`` knows which."""
    remote = request.param == "async, off the loop"
    made = Engine(RemoteStore() if remote else FailingStore(), jitter=0.0)
    made.is_async = request.param != "sync"  # type: ignore[attr-defined]
    return made


def ask(engine: Engine, wanted: Recipe, builder: Builder, method: str = "get_or_build") -> Any:
    if engine.is_async:  # type: ignore[attr-defined]
        return asyncio.run(getattr(engine, f"a{method}")(wanted, builder.asynchronously))
    return getattr(engine, method)(wanted, builder)


def test_what_was_built_once_is_a_hit_afterwards(engine: Engine) -> None:
    builder = Builder()
    with trace() as events:
        assert [ask(engine, recipe(), builder) for _ in range(3)] == ["built 1"] * 3
    assert [event.outcome for event in events] == ["miss", "hit", "hit"]
    assert engine.counts["tests", "hit"] == 2


def test_a_hit_is_one_round_trip_and_a_miss_two(engine: Engine) -> None:
    ask(engine, recipe("k", "a"), Builder())
    assert engine.store.asked == ["read", "write"]
    ask(engine, recipe("k", "a"), Builder())
    assert engine.store.asked == ["read", "write", "read"]


def test_a_change_of_a_tag_makes_a_miss_and_of_another_tag_does_not(engine: Engine) -> None:
    builder = Builder()
    ask(engine, recipe("k", "a"), builder)
    change(engine, "b")
    assert ask(engine, recipe("k", "a"), builder) == "built 1"
    change(engine, "a")
    with trace() as events:
        assert ask(engine, recipe("k", "a"), builder) == "built 2"
    assert (events[0].outcome, events[0].reason) == ("miss", "changed: a")


def test_while_a_tag_is_pending_everybody_builds_and_nothing_is_stored(engine: Engine) -> None:
    builder = Builder()
    ask(engine, recipe("k", "a"), builder)

    def during() -> None:
        with trace() as events:
            assert ask(engine, recipe("k", "a"), builder) == "built 2"
            assert ask(engine, recipe("k", "a"), builder) == "built 3"
        assert [event.outcome for event in events] == ["bypass"] * 2
        assert events[0].reason == "pending: a"

    change(engine, "a", during=during)
    assert engine.store.asked.count("write") == 1


def test_none_is_a_value(engine: Engine) -> None:
    builder = Builder(None)
    assert ask(engine, recipe(), builder) is None
    assert ask(engine, recipe(), builder) is None
    assert builder.calls == 1


def test_the_error_of_a_builder_is_the_callers_and_nothing_is_stored(engine: Engine) -> None:
    builder = Builder(LookupError("no"))
    with pytest.raises(LookupError):
        ask(engine, recipe(), builder)
    assert ask(engine, recipe(), builder) == "built 2"
    assert current_scope() is None


def test_without_a_timeout_an_entry_stays_and_with_none_at_all_it_is_not_stored(
    engine: Engine,
) -> None:
    ask(engine, recipe("zero", timeout=0), Builder())
    ask(engine, recipe("ever", timeout=None), Builder())
    assert list(engine.store._entries.slots) == ["ever"]
    assert engine.store._entries.slots["ever"].expires is None


def test_what_cannot_be_encoded_is_returned_and_not_stored(engine: Engine) -> None:
    with trace() as events:
        assert ask(engine, recipe(), Builder(42)) == 42
    assert events[0].reason == "not stored: 42 is no text"
    assert not engine.store._entries.slots


def test_what_cannot_be_decoded_is_a_miss_that_is_counted_and_overwritten(engine: Engine) -> None:
    builder = Builder("damaged", "mended")
    ask(engine, recipe(), builder)
    assert ask(engine, recipe(), builder) == "mended"
    assert engine.counts["tests", "undecodable"] == 1
    assert ask(engine, recipe(), builder) == "mended"


def test_a_value_over_the_limit_is_returned_and_not_stored(engine: Engine) -> None:
    engine._payloads = Payloads(5)
    assert ask(engine, recipe("six"), Builder("x" * 6)) == "x" * 6
    assert ask(engine, recipe("five"), Builder("x" * 5)) == "x" * 5
    assert list(engine.store._entries.slots) == ["five"]


def test_a_refresh_builds_whatever_is_stored_and_stores_it(engine: Engine) -> None:
    builder = Builder()
    ask(engine, recipe("k", "a"), builder)
    assert ask(engine, recipe("k", "a"), builder, "refresh") == "built 2"
    assert ask(engine, recipe("k", "a"), builder) == "built 2"


def test_no_cache_neither_answers_from_the_store_nor_stores(engine: Engine) -> None:
    builder = Builder()
    ask(engine, recipe(), builder)
    with without_cache(), trace() as events:
        assert ask(engine, recipe(), builder) == "built 2"
    assert (events[0].outcome, events[0].reason) == ("bypass", "inside no_cache()")
    assert ask(engine, recipe(), builder) == "built 1"


def test_what_is_built_around_something_uncached_is_not_stored(engine: Engine) -> None:
    def build() -> str:
        with without_cache():
            return engine.get_or_build(recipe("inner"), lambda: "inner")

    engine.get_or_build(recipe("outer"), build)
    assert not engine.store._entries.slots


def test_a_disabled_engine_builds(engine: Engine) -> None:
    engine.enabled = False
    builder = Builder()
    assert [ask(engine, recipe(), builder) for _ in range(2)] == ["built 1", "built 2"]
    assert engine.store.asked == []


def test_an_event_tells_layer_key_tags_and_time(engine: Engine) -> None:
    with trace() as outer, trace() as inner:
        ask(engine, recipe("k", "a", "b"), Builder())
    assert outer == inner
    (event,) = inner
    assert (event.layer, event.key, event.tags) == ("tests", "k", ("a", "b"))
    assert event.seconds >= 0
    assert event.reason == ""


def test_many_are_fetched_in_one_round_trip_and_the_missing_ones_are_built() -> None:
    engine = Engine(FailingStore(), jitter=0.0)
    engine.get_or_build(recipe("b", "x"), Builder("old b"))
    engine.store.asked.clear()
    builder = Builder()
    requests = [(recipe(key, "x"), builder) for key in "abc"]
    assert engine.get_many(requests) == ["built 1", "old b", "built 2"]
    assert engine.store.asked == ["read_many", "write", "write"]
    assert engine.get_many(requests) == ["built 1", "old b", "built 2"]
    assert engine.get_many([]) == []


@pytest.mark.parametrize("store", (FailingStore, RemoteStore))
def test_a_large_value_is_compressed_for_a_store_elsewhere(store: type[LocalStore]) -> None:
    engine = Engine(store(), jitter=0.0, compress_from=1000)
    for value in ("x" * 2000, "x" * 100):
        wanted = recipe(value)
        assert [engine.get_or_build(wanted, Builder(value)) for _ in range(2)] == [value] * 2
        (size,) = [len(read.payload) for read in [engine.store.read(value, ()).entry] if read]
        assert (size < 100) == (len(value) == 2000 and not engine.store.in_process)
    assert engine.counts["tests", "hit"] == 2


class ResettingBuilder(Builder):
    """The store is cleared while the first value is built."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def __call__(self) -> Any:
        if not self.calls:
            self.engine.distrust()
        return super().__call__()


def test_a_value_that_depends_on_nothing_is_gone_after_a_reset(engine: Engine) -> None:
    builder, late = Builder(), ResettingBuilder(engine)
    assert [ask(engine, recipe(), builder), ask(engine, recipe("late"), late)] == ["built 1"] * 2
    with trace() as events:
        assert [ask(engine, recipe(), builder), ask(engine, recipe("late"), late)] == [
            "built 2"
        ] * 2
    assert [(event.outcome, event.reason) for event in events][1] == (
        "miss",
        "the store was cleared, or has lost what it held",
    )
    assert ask(engine, recipe("late"), late) == "built 2"


def test_timeouts_are_spread_by_the_jitter() -> None:
    now = [0.0]
    engine = Engine(LocalStore(clock=lambda: now[0]), jitter=0.1)
    for number in range(200):
        engine.get_or_build(recipe(f"k{number}", timeout=100.0), Builder("x"))
    expiries = [slot.expires for slot in engine.store._entries.slots.values()]
    assert 90 <= min(expiries) < 95
    assert 105 < max(expiries) <= 110


def test_a_value_whose_tags_are_settled_depends_on_nothing_else() -> None:
    engine = Engine(FailingStore(), jitter=0.0)
    wanted = recipe("k", "row", "any row", settle=lambda value: [value])
    assert engine.get_or_build(wanted, Builder("row")) == "row"
    change(engine, "any row")
    assert engine.get_or_build(wanted, Builder("any row")) == "row"
    change(engine, "row")
    assert engine.get_or_build(wanted, Builder("any row")) == "any row"


def test_a_pending_tag_that_is_not_settled_on_does_not_keep_a_value_from_being_stored() -> None:
    engine = Engine(FailingStore(), jitter=0.0)
    wanted = recipe("k", "row", "any row", settle=lambda value: ["row"])
    change(engine, "any row", during=lambda: engine.get_or_build(wanted, Builder("x")))
    assert list(engine.store._entries.slots) == ["k"]
