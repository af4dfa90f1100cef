"""Looks into the outbox: one of all processes has one, and nobody waits for it on an event loop."""

import asyncio
import threading
from collections.abc import Callable, Iterable

import pytest

from django_layercache.engine import Engine
from django_layercache.engine.looks import EVERY, Looks
from django_layercache.stores.awaited import awaited
from tests.engine.tools import Builder, RemoteStore, recipe


class Outboxes:
    """What is looked into, as ``here`` names it."""

    def __init__(self, here: str = "here", is_complete: bool = True) -> None:
        self.here = here
        self.is_complete = is_complete
        self.looks = 0
        self.began, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()

    def look(self, touch: Callable[[Iterable[str]], None]) -> bool:
        self.looks += 1
        self.began.set()
        self.was_let_go = self.may_end.wait(5)
        return self.is_complete

    drain = look

    def place(self) -> str:
        return self.here


@pytest.fixture
def shared() -> RemoteStore:
    return RemoteStore()


def process(shared: RemoteStore, outboxes: Outboxes) -> Engine:
    return Engine(shared, jitter=0.0, outbox=outboxes)


def read(engine: Engine) -> None:
    engine.get_or_build(recipe(), Builder())


def test_what_one_process_has_looked_at_no_other_looks_at(shared: RemoteStore) -> None:
    mine, yours = Outboxes(), Outboxes()
    for _ in range(3):
        read(process(shared, mine))
    read(process(shared, yours))
    assert (mine.looks, yours.looks) == (1, 0)


def test_who_goes_by_another_ones_look_looks_when_that_one_would(shared: RemoteStore) -> None:
    read(process(shared, Outboxes()))
    left = shared.read("outbox:here", ()).left
    assert 0 < left <= EVERY
    looks = Looks(shared, Outboxes(), lambda tags: None)
    before = looks._next_at
    looks.look_around()
    assert looks._next_at > before
    shared.delete("outbox:here")
    looks._next_at = 0.0  # the time is over
    looks.look_around()
    assert shared.read("outbox:here", ()).entry is not None


@pytest.mark.parametrize(
    "outboxes", (Outboxes(here="elsewhere"), Outboxes(is_complete=False)), ids=("other", "unread")
)
def test_a_look_at_others_or_at_less_is_no_look(shared: RemoteStore, outboxes: Outboxes) -> None:
    mine = Outboxes()
    read(process(shared, outboxes))
    read(process(shared, mine))
    assert (outboxes.looks, mine.looks) == (1, 1)


def test_a_process_looks_no_second_time_before_it_is_time(shared: RemoteStore) -> None:
    outboxes = Outboxes(is_complete=False)  # so that no note tells it
    engine = process(shared, outboxes)
    for _ in range(50):
        read(engine)
    assert outboxes.looks == 1


def test_a_store_in_this_process_is_nobody_elses_to_write_to(shared: RemoteStore) -> None:
    shared.in_process = True
    outboxes = Outboxes()
    read(process(shared, outboxes))
    assert outboxes.looks == 0


def test_the_event_loop_goes_on_while_somebody_looks(shared: RemoteStore) -> None:
    outboxes = Outboxes()
    outboxes.may_end.clear()
    looks = Looks(shared, outboxes, lambda tags: None)

    async def story() -> None:
        task = asyncio.create_task(looks.alook_around(awaited(shared), patience=30))
        await asyncio.to_thread(outboxes.began.wait, 10)
        assert not task.done(), "it has not waited for the look"
        outboxes.may_end.set()
        await task

    asyncio.run(story())
    assert outboxes.was_let_go, "the loop stood still meanwhile"


def test_coroutines_await_their_look(shared: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Looks, "look_around", lambda looks: pytest.fail("it keeps the loop waiting")
    )
    outboxes = Outboxes()
    build = Builder().asynchronously
    asyncio.run(process(shared, outboxes).aget_or_build(recipe(), build))
    shared.delete("outbox:here")
    asyncio.run(process(shared, outboxes).aget_many([(recipe(), build)]))
    assert outboxes.looks == 2
