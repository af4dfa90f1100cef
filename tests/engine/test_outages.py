"""The store is away: everything is built, nothing is lost, and nothing stale is served when it is back."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from django_layercache.engine import Engine, trace
from django_layercache.engine.outages import Outages
from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import PENDING
from tests.engine.tools import Builder, FailingStore, RemoteStore, change, recipe


class ListOutbox:
    """What transactions left, in a list. Fails as often as ``failures`` says."""

    def __init__(self) -> None:
        self.left: list[str] = []
        self.failures = 0

    def drain(self, touch: Callable[[Iterable[str]], None]) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the database is away, too")
        if self.left:
            touch(self.left)
            self.left.clear()

    def look(self, touch: Callable[[Iterable[str]], None]) -> bool:
        """Nothing: here what counts is what is drained."""
        return False

    def place(self) -> str:
        return "a list"


@pytest.fixture
def outbox() -> ListOutbox:
    return ListOutbox()


@pytest.fixture
def engine(store: FailingStore, outbox: ListOutbox) -> Engine:
    made = Engine(store, jitter=0.0, outbox=outbox)
    made.outages = Outages(store, outbox, pause=0.01)
    return made


def until_paid(engine: Engine) -> None:
    end = time.monotonic() + 10
    while engine.outages.in_debt:
        assert time.monotonic() < end, "the debt was never paid"
        time.sleep(0.002)


def commit_while_away(engine: Engine, outbox: ListOutbox, *tags: str) -> None:
    """What the layer above does: tags that could not be marked are left in the outbox, with the commit."""
    write = engine.new_write()
    write.touch(tags)
    outbox.left += write.mark()
    write.release()


@pytest.mark.parametrize("away", ("read", "all"))
def test_readers_bypass_a_store_that_is_away(
    engine: Engine, store: FailingStore, away: str
) -> None:
    engine.get_or_build(recipe(), Builder("stored"))
    store.away = {away}
    with trace() as events:
        assert engine.get_or_build(recipe(), Builder("built")) == "built"
        assert engine.get_or_build(recipe(), Builder("again")) == "again"
        assert engine.refresh(recipe(), Builder("fresh")) == "fresh"
    assert [event.outcome for event in events] == ["bypass"] * 3
    store.away = set()
    until_paid(engine)
    assert engine.get_or_build(recipe(), Builder()) == "stored"


def test_many_are_built_while_the_store_is_away(engine: Engine, store: FailingStore) -> None:
    store.away = {"all"}
    requests = [(recipe(key), Builder(key)) for key in "abc"]
    assert engine.get_many(requests) == ["a", "b", "c"]
    store.away = set()
    until_paid(engine)


def test_a_value_that_cannot_be_stored_is_returned_all_the_same(
    engine: Engine, store: FailingStore
) -> None:
    store.away = {"write"}
    assert engine.get_or_build(recipe(), Builder("built")) == "built"
    store.away = set()
    until_paid(engine)


@pytest.mark.parametrize(
    ("gone", "failures", "why"),
    [
        ({"all"}, 0, "the store is away: away"),
        (set(), 10**6, "the outbox cannot be drained: the database is away, too"),
    ],
)
def test_a_process_in_debt_says_why(
    engine: Engine, store: FailingStore, outbox: ListOutbox, gone: set[str], failures: int, why: str
) -> None:
    store.away, outbox.failures = gone, failures
    engine.outages.owe(["a"])
    end = time.monotonic() + 10
    while engine.peek(recipe()).reason != f"the store is not trusted: {why}":
        assert time.monotonic() < end, engine.peek(recipe()).reason
        time.sleep(0.002)
    store.away, outbox.failures = set(), 0
    until_paid(engine)
    assert engine.outages.why == ""


def test_a_process_in_debt_asks_the_store_nothing(engine: Engine, store: FailingStore) -> None:
    store.away = {"all"}
    engine.get_or_build(recipe(), Builder())
    engine.outages._pay = lambda: False  # type: ignore[method-assign]
    time.sleep(0.05)
    store.asked.clear()
    engine.get_or_build(recipe(), Builder())
    engine.get_many([(recipe(), Builder())])
    assert store.asked == []


def test_what_is_built_around_something_that_was_away_is_not_stored(
    engine: Engine, store: FailingStore
) -> None:
    def page() -> str:
        store.away = {"read"}
        engine.observe(["a"])
        store.away = set()
        return "page"

    engine.get_or_build(recipe("page"), page)
    assert not store._entries.slots
    until_paid(engine)


def test_marks_that_were_placed_after_all_are_taken_away_when_the_debt_is_paid(
    engine: Engine, store: FailingStore, outbox: ListOutbox
) -> None:
    """The server was slow; the writer has not waited for the answer."""
    real = store.mark

    def place_and_say_nothing(*args: Any) -> None:
        real(*args)
        raise StoreUnavailable("no answer in time")

    store.mark = place_and_say_nothing  # type: ignore[method-assign]
    store.away = {"release"}
    commit_while_away(engine, outbox, "a")
    assert store.read(None, ["a"]).states["a"] is PENDING
    store.away = set()
    until_paid(engine)
    assert store.read(None, ["a"]).states["a"] is not PENDING


@pytest.mark.parametrize("away", ("mark", "release", "all"))
def test_nothing_stale_is_served_after_a_commit_that_the_store_missed(
    engine: Engine, store: FailingStore, outbox: ListOutbox, away: str
) -> None:
    assert engine.get_or_build(recipe("k", "a"), Builder("old")) == "old"
    store.away = {away}
    commit_while_away(engine, outbox, "a")
    assert engine.get_or_build(recipe("k", "a"), Builder("new")) == "new"
    store.away = set()
    until_paid(engine)
    assert engine.get_or_build(recipe("k", "a"), Builder("new")) == "new"


def test_a_write_that_cannot_be_marked_names_its_tags(engine: Engine, store: FailingStore) -> None:
    store.away = {"mark"}
    write = engine.new_write()
    write.touch(["b", "a"])
    assert write.mark() == ["a", "b"]
    assert write.is_marked


def test_the_outbox_is_drained_before_the_store_is_trusted(
    engine: Engine, store: FailingStore, outbox: ListOutbox
) -> None:
    """Another process, which has died since, could not reach the store either."""
    engine.get_or_build(recipe("k", "a"), Builder("old"))
    store.away = {"all"}
    engine.get_or_build(recipe("k", "a"), Builder("new"))
    outbox.left.append("a")
    store.away = set()
    until_paid(engine)
    assert outbox.left == []
    assert engine.get_or_build(recipe("k", "a"), Builder("new")) == "new"


def test_a_store_is_not_trusted_as_long_as_the_outbox_cannot_be_drained(
    engine: Engine, store: FailingStore, outbox: ListOutbox
) -> None:
    engine.get_or_build(recipe("k", "a"), Builder("old"))
    outbox.failures, outbox.left = 3, ["a"]
    store.away = {"read"}
    engine.get_or_build(recipe("k", "a"), Builder("new"))
    store.away = set()
    values = []
    while engine.outages.in_debt:
        values.append(engine.get_or_build(recipe("k", "a"), Builder("new")))
    assert engine.get_or_build(recipe("k", "a"), Builder("new")) == "new"
    assert set(values) <= {"new"}
    assert outbox.failures == 0


def test_an_outage_in_the_middle_of_paying_is_paid_again(
    engine: Engine, store: FailingStore, outbox: ListOutbox
) -> None:
    engine.get_or_build(recipe("k", "a"), Builder("old"))
    store.away = {"all"}
    commit_while_away(engine, outbox, "a")
    store.away = {"release"}
    time.sleep(0.05)
    assert engine.outages.in_debt
    store.away = set()
    until_paid(engine)
    assert engine.get_or_build(recipe("k", "a"), Builder("new")) == "new"


def test_an_engine_that_has_missed_writes_resets_its_store_as_soon_as_it_can(
    engine: Engine, store: FailingStore
) -> None:
    engine.get_or_build(recipe("k", "a"), Builder("old"))
    store.away = {"all"}
    engine.distrust()
    assert engine.get_or_build(recipe("k", "a"), Builder("new")) == "new"
    store.away = set()
    until_paid(engine)
    assert engine.get_or_build(recipe("k", "a"), Builder("new")) == "new"


def test_a_reset_that_is_asked_for_while_another_is_made_is_made_too(
    engine: Engine, store: FailingStore
) -> None:
    real, asked = store.reset, []

    def reset() -> None:
        real()
        asked.append("reset")
        if len(asked) == 1:
            engine.outages.owe_everything()

    store.reset = reset  # type: ignore[method-assign]
    engine.outages.owe_everything()
    until_paid(engine)
    assert len(asked) >= 2


def test_a_process_that_was_forked_in_debt_pays_it(engine: Engine, store: FailingStore) -> None:
    store.away = {"all"}
    outages = engine.outages
    outages._pay_until_clear = lambda: None  # type: ignore[method-assign]
    outages.owe()
    assert outages._thread is not None
    outages._thread.join()  # gone, as any thread is in the child
    del outages._pay_until_clear
    store.away = set()
    until_paid(engine)


def test_threads_that_fail_at_once_start_one_thread_that_pays(
    engine: Engine, store: FailingStore
) -> None:
    store.away = {"all"}
    for _ in range(20):
        engine.outages.owe(["a"])
    payers = [thread for thread in threading.enumerate() if thread is engine.outages._thread]
    assert len(payers) == 1
    store.away = set()
    until_paid(engine)


def test_the_log_says_once_that_the_store_is_away_and_once_that_it_is_back(
    engine: Engine, store: FailingStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.away = {"all"}
    for _ in range(5):
        engine.get_or_build(recipe(), Builder())
    store.away = set()
    until_paid(engine)
    time.sleep(0.02)
    messages = [record.message for record in caplog.records]
    assert [message.split(".")[0].split(",")[0] for message in messages] == [
        "The store is away: away",
        "The store is back",
    ]


def test_the_log_says_why_where_a_write_has_found_out(
    engine: Engine, store: FailingStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.away = {"mark"}
    write = engine.new_write()
    write.touch(["a"])
    write.mark()
    engine.outages.owe()
    assert caplog.messages[0].startswith("The store is away: away. ")
    write.release()
    until_paid(engine)


def test_async_code_bypasses_a_store_that_is_away() -> None:
    import asyncio

    store = RemoteStore()
    engine = Engine(store, jitter=0.0)
    engine.outages = Outages(store, pause=0.01)
    store.away = {"all"}
    assert asyncio.run(engine.aget_or_build(recipe(), Builder("built").asynchronously)) == "built"
    store.away = set()
    until_paid(engine)
    change(engine, "a")


def test_a_debt_lasts_until_the_write_that_could_not_mark_has_told_the_store(
    engine: Engine, store: FailingStore
) -> None:
    store.away = {"all"}
    write = engine.new_write()
    write.touch(["a"])
    assert write.mark() == ["a"]
    engine.outages.owe()
    store.away = set()
    time.sleep(0.1)
    assert engine.outages.in_debt
    write.release()
    until_paid(engine)


def test_a_write_that_is_forgotten_by_everybody_holds_no_debt(
    engine: Engine, store: FailingStore
) -> None:
    store.away = {"all"}
    write = engine.new_write()
    write.touch(["a"])
    write.mark()
    engine.outages.owe()
    store.away = set()
    del write
    until_paid(engine)
