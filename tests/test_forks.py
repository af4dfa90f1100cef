"""A child that is forked while other threads are at work waits for none of them."""

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import django_layercache
from django_layercache import forks
from django_layercache.decorators import cached
from django_layercache.engine.flights import Flights
from django_layercache.handlers import get_engine

SOURCE = Path(django_layercache.__file__).parent
#: It begins anew in a child, with locks and all.
RENEWS_ITS_OWN = "near_pushed.py"


@contextmanager
def held_by_others() -> Iterator[None]:
    """Every lock of the library's that there is, as if each had a thread in the middle of something."""
    locks = [lock for lock in forks._renewed if hasattr(lock, "acquire")]
    assert len(locks) > 3
    for lock in locks:
        lock.acquire()
    try:
        yield
    finally:
        for lock in locks:
            lock.release()


def forked(in_child: Callable[[], None]) -> int:
    """The code with which a child ends that does that; minus a signal's number if it never ends."""
    child = os.fork()
    if not child:
        try:
            signal.alarm(10)
            in_child()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@cached(timeout=60)
def squared(number: int) -> int:
    return number * number


def test_a_child_waits_for_no_lock_that_a_thread_of_its_parents_held(settings) -> None:
    settings.LAYERCACHE = {"CACHE": None}
    squared(2)

    def in_child() -> None:
        assert squared(2) == 4
        squared.invalidate(2)
        assert squared(2) == 4
        get_engine().outages.owe()

    with held_by_others():
        assert forked(in_child) == 0
    assert squared(2) == 4


def test_a_child_waits_for_nothing_that_its_parent_builds() -> None:
    flights = Flights()

    def in_child() -> None:
        with flights.lead_or_join("k") as flight:
            assert flight is None, "it joins the flight of a thread that is not there"

    begun, may_end = threading.Event(), threading.Event()

    def build() -> None:
        with flights.lead_or_join("k"):
            begun.set()
            may_end.wait(10)

    thread = threading.Thread(target=build)
    thread.start()
    begun.wait(10)
    assert forked(in_child) == 0
    may_end.set()
    thread.join()


def test_who_forks_in_the_middle_of_building_may_end_it_in_the_child() -> None:
    flights = Flights()
    with flights.lead_or_join("k"):
        child = os.fork()
    if not child:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_each_lock_that_is_kept_is_renewed_in_children() -> None:
    kept = re.compile(r"= threading\.(R?Lock|Condition|Event|Semaphore)\(")
    found = {path.name for path in SOURCE.rglob("*.py") if kept.search(path.read_text())}
    assert found == {RENEWS_ITS_OWN}
