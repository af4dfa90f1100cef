"""The `bounded` store over several of Django's caches: the contract, without what needs atomic changes and an order."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache

from django_layercache.engine import Engine, is_not_after
from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import PENDING, Entry
from django_layercache.stores.django import BoundedStore
from tests.engine.tools import Builder, change, recipe
from tests.stores import test_contract as contract
from tests.stores.test_contract import LEASE, is_pending, token_of

SHARED = """
test_a_tag_that_nobody_has_seen_is_minted_and_never_reported_missing test_a_minted_token_stays
test_every_tag_has_a_token_of_its_own test_a_tag_may_have_any_name
test_the_same_tag_twice_in_one_call_is_once test_calls_without_tags_do_nothing
test_a_marked_tag_is_pending test_a_tag_that_was_never_read_can_be_marked
test_a_mark_makes_no_other_tag_pending
test_a_release_of_one_who_has_no_mark_leaves_the_marks_of_others
test_a_release_of_some_of_the_tags_leaves_the_marks_on_the_others
test_an_entry_comes_back_as_it_was_with_the_states_of_all_its_tags
test_an_entry_comes_back_whatever_became_of_its_tags test_a_key_without_an_entry_is_no_error
test_without_a_key_no_entry_is_fetched test_an_entry_replaces_the_one_before
test_a_deleted_entry_is_gone test_many_are_read_as_each_would_be_alone
test_after_a_reset_nothing_that_was_stored_is_reachable
test_what_is_stored_after_a_reset_by_one_who_read_before_it_is_not_reachable
test_a_reset_leaves_the_marks test_a_closed_store_can_be_used_again
test_every_release_at_once_draws_a_token_of_its_own
""".split()


@pytest.fixture(params=("locmem", "file"))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BoundedStore]:
    options = {"OPTIONS": {"MAX_ENTRIES": 100_000}}
    if request.param == "file":
        cache = FileBasedCache(str(tmp_path), options)
    else:
        cache = LocMemCache(request.node.nodeid, options)
    yield BoundedStore(lambda: cache)
    cache.clear()


@pytest.mark.parametrize("name", SHARED)
def test_contract(store: BoundedStore, name: str) -> None:
    getattr(contract, name)(store)


def test_it_says_that_it_is_not_exact(store: BoundedStore) -> None:
    assert not store.exact


def test_a_release_gives_a_new_token_with_a_mark_or_without(store: BoundedStore) -> None:
    seen = {token_of(store, "a")}
    store.mark("w", ["a"], LEASE)
    store.release("w", ["a"])
    seen.add(token_of(store, "a"))
    store.release("w", ["a"])
    seen.add(token_of(store, "a"))
    assert len(seen - {PENDING}) == 3


@pytest.mark.parametrize("order", ("vw", "wv"))
def test_a_release_takes_its_own_mark_away_and_the_last_one_settles_the_tag(
    store: BoundedStore, order: str
) -> None:
    store.mark("v", ["a"], LEASE)
    store.mark("w", ["a"], LEASE)
    store.release(order[0], ["a"])
    assert is_pending(store, "a")
    store.release(order[1], ["a"])
    assert not is_pending(store, "a")


def test_a_mark_that_nobody_takes_away_is_over_with_its_lease(store: BoundedStore) -> None:
    before = token_of(store, "a")
    store.mark("w", ["a"], 0.05)
    assert is_pending(store, "a")
    threading.Event().wait(0.06)
    assert token_of(store, "a") not in {before, PENDING}


def test_nothing_is_used_in_a_transaction_with_a_snapshot(store: BoundedStore) -> None:
    token = token_of(store, "a")
    assert not is_not_after(token, store.read(None, ()).sequence)


def test_a_commit_is_seen_by_everybody(store: BoundedStore) -> None:
    here, there = Engine(store, jitter=0), Engine(store, jitter=0)
    assert here.get_or_build(recipe("k", "a"), Builder("old")) == "old"
    assert there.get_or_build(recipe("k", "a"), Builder("new")) == "old"
    change(here, "a")
    assert there.get_or_build(recipe("k", "a"), Builder("new")) == "new"
    assert here.get_or_build(recipe("k", "a"), Builder("newer")) == "new"


@pytest.mark.parametrize("planted", (b"", "x" * 24, 7, None, ["w"], b"L2" + b"\x00" * 30))
def test_what_somebody_plants_is_as_good_as_nothing(store: BoundedStore, planted: object) -> None:
    before = token_of(store, "a")
    store.write("k", Entry({"a": before}, b"old"), None)
    for key in (store._head, store._tag("a"), store._entry("k")):
        store._cache().set(key, planted, None)
        store.mark("w", ["a"], LEASE)
        assert is_pending(store, "a")
        store.release("w", ["a"])
        reading = store.read("k", ["a"])
        assert reading.states["a"] not in {before, PENDING}
    assert reading.entry is None


def test_a_cache_that_raises_is_a_store_that_is_away() -> None:
    def broken() -> object:
        raise OSError("no such disk")

    store = BoundedStore(broken)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.read("k", ["a"])
        with pytest.raises(StoreUnavailable):
            store.mark("w", ["a"], LEASE)
