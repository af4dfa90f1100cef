"""What the `local` store takes, and what it lets go first."""

import gc
import threading
import tracemalloc
from collections.abc import Callable

import pytest

from django_layercache.stores import entries
from django_layercache.stores.base import Entry
from django_layercache.stores.local import LocalStore
from django_layercache.stores.shelf import Shelf
from tests.stores.clocks import LocalClock


def size_of(key: str, entry: Entry) -> int:
    store = LocalStore()
    store.write(key, entry, None)
    return store._entries.bytes


def keys(store: LocalStore) -> list[str]:
    return [key for key in "abcdefgh" if key in store._entries.slots]


def test_the_least_recently_used_entry_is_dropped_first() -> None:
    entry = Entry({}, b"x" * 100)
    store = LocalStore(max_bytes=3 * size_of("a", entry))
    for key in "abc":
        store.write(key, entry, None)
    assert store.read("a", ()).entry is not None
    store.write("d", entry, None)
    assert keys(store) == ["a", "c", "d"]


def test_an_entry_that_is_written_again_is_the_most_recently_used() -> None:
    entry = Entry({}, b"x" * 100)
    store = LocalStore(max_bytes=3 * size_of("a", entry))
    for key in "abcad":
        store.write(key, entry, None)
    assert keys(store) == ["a", "c", "d"]


def test_an_entry_that_is_larger_than_everything_drops_nothing_but_its_own_key() -> None:
    entry = Entry({}, b"x" * 100)
    store = LocalStore(max_bytes=3 * size_of("a", entry))
    for key in "abc":
        store.write(key, entry, None)
    store.write("a", Entry({}, b"x" * 10_000), None)
    assert keys(store) == ["b", "c"]


def test_the_bytes_that_are_counted_are_those_of_the_entries_that_are_there() -> None:
    clock = LocalClock(max_bytes=20_000)
    store = clock.store
    for number in range(500):
        key = f"k{number % 37}"
        store.write(key, Entry({}, b"x" * (number * 7 % 900)), 5 if number % 3 else None)
        if number % 5 == 0:
            store.delete(f"k{number % 11}")
        store.read(f"k{number % 13}", ())
        clock.advance(0.3)
        assert (
            store._entries.bytes
            == sum(slot.size for slot in store._entries.slots.values())
            <= 20_000
        )
    store.reset()
    assert store._entries.bytes == 0


def test_the_oldest_tokens_are_forgotten_and_minted_anew() -> None:
    store = LocalStore(max_tags=10)
    before = store.read(None, ["old"]).states["old"]
    store.write("k", Entry({"old": before}, b"x"), None)
    store.read(None, [f"t{number}" for number in range(10)])
    assert len(store._tokens) == 10
    assert store.read("k", ()).states["old"] != before


def test_marks_are_not_forgotten_however_many_tags_there_are() -> None:
    store = LocalStore(max_tags=10)
    store.mark("w", ["a"], 30)
    store.read(None, [f"t{number}" for number in range(100)])
    assert store.read(None, ["a"]).states["a"] is None


def test_more_tags_in_one_reading_than_are_kept_make_no_old_entry_fresh() -> None:
    store = LocalStore(max_tags=3)
    tags = [f"t{number}" for number in range(5)]
    states = store.read(None, tags).states
    store.write("k", Entry(dict(states), b"x"), None)
    assert store.read("k", ()).states != states


def measured(work: Callable[[], None]) -> int:
    """The bytes that *work* leaves allocated."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def close_to(counted: int) -> object:
    return pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize(
    ("tags", "length", "payload"),
    ((0, 20, 10), (1, 20, 200), (5, 20, 500), (40, 20, 50), (10, 500, 50)),
)
def test_an_entry_takes_as_much_memory_as_is_counted(tags: int, length: int, payload: int) -> None:
    store, count = LocalStore(max_bytes=10**9), 1000

    def names() -> list[str]:
        return [f"{tag:0{length}d}" for tag in range(tags)]

    def fill() -> None:
        for number in range(count):
            entry = Entry(dict(store.read(None, names()).states), bytes(bytearray(payload)))
            store.write(f"querysets:default:{number:032x}", entry, 300.0)

    store.read(None, names())
    assert measured(fill) == close_to(store._entries.bytes)


def test_an_entry_that_came_from_elsewhere_takes_its_tokens_too() -> None:
    shelf = Shelf(10**9, threading.Lock())
    packed = []
    for number in range(1000):
        tags = [f"0a1b2c3d:shop_product#pk={number}-{tag}" for tag in range(5)]
        tokens = {tag: f"abcdefgh{number + n:016d}" for n, tag in enumerate(tags)}
        entry = Entry(tokens, b"x" * 200)
        packed.append(entries.pack(f"{number:032x}", entry))

    def fill() -> None:
        entries._tags.cache_clear()
        for number, data in enumerate(packed):
            shelf.put(f"{number:032x}", entries.unpack(f"{number:032x}", data), 300.0)
        entries._tags.cache_clear()

    assert measured(fill) == close_to(shelf.bytes)


def test_a_token_takes_about_two_hundred_bytes() -> None:
    store, count = LocalStore(), 5000

    def mint() -> None:
        for number in range(count):
            store.read(None, [f"catalog_city#id={number}"])

    assert 100 <= measured(mint) / count <= 250
