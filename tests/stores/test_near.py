"""The near tier: what it asks the shared store for, and what it keeps."""

from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from typing import Any

import pytest

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import PENDING, Entry, Reading, Token
from django_layercache.stores.local import LocalStore
from django_layercache.stores.near import NearStore
from django_layercache.stores.near_request import RequestTokens, token_snapshot

LEASE = 30.0


class Shared(LocalStore):
    """A shared store that notes what it is asked, and lets others in *meanwhile*: after it has answered."""

    in_process = False

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.now)
        self.now = 1000.0
        self.asked: list[tuple[str | None, list[str]]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.is_away = False

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        return self.read_many([(key, tags)])[0]

    def read_many(self, requests: Sequence[tuple[str | None, Sequence[str]]]) -> list[Reading]:
        if self.is_away:
            raise StoreUnavailable
        self.asked += [(key, sorted(tags)) for key, tags in requests]
        readings = super().read_many(requests)
        self.meanwhile()
        return readings

    def change(self, *tags: str) -> None:
        """Somebody else does."""
        self.mark("other", tags, LEASE)
        self.release("other", tags)

    def store(self, key: str, *tags: str, payload: bytes = b"x") -> Entry:
        """Somebody else does."""
        states = super().read_many([(None, tags)])[0].states
        entry = Entry({tag: states[tag] or "" for tag in tags}, payload)
        super().write(key, entry, 60)
        return entry


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
def near(shared: Shared) -> NearStore:
    return NearStore(shared, clock=lambda: shared.now)


@pytest.fixture
def by_request(shared: Shared) -> NearStore:
    return NearStore(shared, RequestTokens(), clock=lambda: shared.now)


@pytest.fixture
def in_request() -> Iterator[None]:
    with token_snapshot():
        yield


# -- strict ------------------------------------------------------------------------------------


def test_an_entry_that_was_read_is_not_fetched_again_and_its_tokens_are(
    near: NearStore, shared: Shared
) -> None:
    entry = shared.store("k", "a")
    for _ in range(3):
        assert near.read("k", ["b"]).entry == entry
    assert shared.asked == [("k", ["b"]), (None, ["a", "b"]), (None, ["a", "b"])]


def test_an_entry_that_was_written_here_is_not_fetched_at_all(
    near: NearStore, shared: Shared
) -> None:
    token = near.read(None, ["a"]).states["a"]
    near.write("k", Entry({"a": token or ""}, b"x"), None)
    assert near.read("k", ()).entry == Entry({"a": token or ""}, b"x")
    assert shared.asked == [(None, ["a"])] * 2


def test_an_entry_that_somebody_else_has_stored_anew_is_fetched(
    near: NearStore, shared: Shared
) -> None:
    shared.store("k", "a")
    near.read("k", ())
    shared.change("a")
    newer = shared.store("k", "a", payload=b"newer")
    shared.asked.clear()
    assert near.read("k", ()).entry == newer
    assert near.read("k", ()).entry == newer
    assert shared.asked == [(None, ["a"]), ("k", []), (None, ["a"])]


def test_what_is_not_current_is_not_kept(near: NearStore, shared: Shared) -> None:
    shared.store("k", "a")
    shared.mark("other", ["a"], LEASE)
    for _ in range(2):
        assert near.read("k", ()).states == {"a": PENDING}
    assert shared.asked == [("k", [])] * 2


def test_many_are_asked_for_at_once_and_those_that_are_not_current_at_once_again(
    near: NearStore, shared: Shared
) -> None:
    entries = {key: shared.store(key, key) for key in "abc"}
    keys = [(key, ()) for key in "abcd"]
    near.read_many(keys[:2])
    shared.change("a")
    entries["a"] = shared.store("a", "a")
    shared.asked.clear()
    readings = near.read_many(keys)
    assert [reading.entry for reading in readings] == [*entries.values(), None]
    assert shared.asked == [(None, ["a"]), (None, ["b"]), ("c", []), ("d", []), ("a", [])]


def test_a_copy_does_not_outlive_the_entry(near: NearStore, shared: Shared) -> None:
    shared.store("k", "a")
    shared.now += 59
    assert near.read("k", ()).entry is not None
    shared.now += 2
    assert near.read("k", ()).entry is None


def test_no_copy_is_kept_of_an_entry_of_which_nobody_knows_how_long_it_lives(
    near: NearStore, shared: Shared
) -> None:
    class Untold(Shared):
        def read_many(self, requests: Any) -> list[Reading]:
            return [
                Reading(reading.entry, reading.states, reading.sequence)
                for reading in super().read_many(requests)
            ]

    near.shared = untold = Untold()
    untold.store("k", "a")
    near.read("k", ()), near.read("k", ())
    assert untold.asked == [("k", [])] * 2


def test_an_entry_without_tags_is_not_used_after_a_reset(near: NearStore, shared: Shared) -> None:
    generation = near.read(None, ()).sequence[:8]
    near.write("k", Entry({}, b"x", generation), None)
    assert near.read("k", ()).entry is not None
    shared.reset()
    assert near.read("k", ()).entry is None


def test_the_tier_is_bounded(shared: Shared) -> None:
    near = NearStore(shared, max_bytes=10_000)
    for number in range(100):
        near.write(f"k{number}", Entry({}, b"x" * 500), None)
    assert 5_000 < near._shelf.bytes <= 10_000
    assert list(near._shelf.slots)[-1] == "k99"


def test_what_cannot_be_written_is_not_kept(near: NearStore, shared: Shared) -> None:
    def fail(*args: Any) -> None:
        raise StoreUnavailable

    shared.write = fail  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        near.write("k", Entry({}, b"x"), None)
    assert not near._shelf.slots


def test_a_decoded_value_counts_and_goes_with_its_entry(near: NearStore) -> None:
    near.write("k", Entry({"a": near.read(None, ["a"]).states["a"] or ""}, b"x"), None)
    before = near._shelf.bytes
    slot = near.read("k", ()).slot
    assert slot is not None
    slot.keep("value", 5000)
    slot.keep("twice", 5000)
    assert near._shelf.bytes == before + 5000
    again = near.read("k", ()).slot
    assert again is not None
    assert again.value == "value"
    near.delete("k")
    assert near._shelf.bytes == 0


def test_a_decoded_value_that_is_larger_than_everything_is_not_kept(shared: Shared) -> None:
    near = NearStore(shared, max_bytes=10_000)
    near.write("k", Entry({"a": near.read(None, ["a"]).states["a"] or ""}, b"x"), None)
    slot = near.read("k", ()).slot
    assert slot is not None
    slot.keep("value", 10_000)
    assert slot.is_refused
    assert near.read("k", ()).entry is not None


# -- request -----------------------------------------------------------------------------------


def test_outside_of_a_request_tokens_are_fetched_each_time(
    by_request: NearStore, shared: Shared
) -> None:
    shared.store("k", "a")
    for _ in range(3):
        by_request.read("k", ())
    assert shared.asked == [("k", []), (None, ["a"]), (None, ["a"])]


def test_in_a_request_nothing_is_asked_twice(
    by_request: NearStore, shared: Shared, in_request: None
) -> None:
    entry = shared.store("k", "a")
    for _ in range(3):
        assert by_request.read("k", ["b"]).states.keys() == {"a", "b"}
        assert by_request.read("k", ()).entry == entry
        assert by_request.read(None, ["b"]).states.keys() == {"b"}
        assert by_request.read_many([("k", ()), ("k", ["b"])])[1].entry == entry
    assert shared.asked == [("k", ["b"])]


def test_in_a_request_what_is_changed_by_others_after_its_start_need_not_be_seen(
    by_request: NearStore, shared: Shared
) -> None:
    shared.store("k", "a", payload=b"old")
    with token_snapshot():
        by_request.read("k", ())
        shared.change("a")
        shared.store("k", "a", payload=b"new")
        assert by_request.read("k", ()).entry.payload == b"old"  # type: ignore[union-attr]
    with token_snapshot():
        assert by_request.read("k", ()).entry.payload == b"new"  # type: ignore[union-attr]


def test_the_position_is_asked_for_each_time(
    by_request: NearStore, shared: Shared, in_request: None
) -> None:
    before = by_request.read(None, ["a"]).sequence
    shared.change("b")
    assert by_request.read(None, ()).sequence > before


def test_a_pending_tag_is_asked_for_until_it_is_settled(
    by_request: NearStore, shared: Shared, in_request: None
) -> None:
    shared.mark("other", ["a"], LEASE)
    assert by_request.read(None, ["a"]).states == {"a": PENDING}
    shared.release("other", ["a"])
    assert by_request.read(None, ["a"]).states["a"] is not PENDING


def test_what_this_process_changes_is_seen(
    by_request: NearStore, shared: Shared, in_request: None
) -> None:
    before = by_request.read(None, ["a", "b"]).states
    by_request.mark("w", ["a"], LEASE)
    assert by_request.read(None, ["a", "b"]).states == {"a": PENDING, "b": before["b"]}
    by_request.release("w", ["a"])
    assert by_request.read(None, ["a"]).states["a"] not in {PENDING, before["a"]}


@pytest.mark.parametrize("operation", ("mark", "release", "reset"))
def test_an_answer_from_before_a_change_that_arrives_after_it_teaches_nothing(
    by_request: NearStore, shared: Shared, in_request: None, operation: str
) -> None:
    def change() -> None:
        shared.meanwhile = lambda: None
        if operation == "mark":
            by_request.mark("w", ["a"], LEASE)
        elif operation == "release":
            by_request.release("w", ["a"])
        else:
            by_request.reset()

    shared.meanwhile = change
    before = by_request.read(None, ["a"]).states["a"]
    assert by_request.read(None, ["a"]).states["a"] != before


def test_who_was_started_in_a_request_and_outlives_it_asks(
    by_request: NearStore, shared: Shared
) -> None:
    with token_snapshot():
        by_request.read(None, ["a"])
        context = copy_context()
        assert context.run(lambda: by_request.read(None, ["a"])).states
        assert len(shared.asked) == 1
    context.run(lambda: by_request.read(None, ["a"]))
    assert len(shared.asked) == 2


def test_a_request_in_a_request_is_the_same_one(by_request: NearStore, shared: Shared) -> None:
    with token_snapshot():
        by_request.read(None, ["a"])
        with token_snapshot():
            by_request.read(None, ["a"])
        by_request.read(None, ["a"])
    assert len(shared.asked) == 1


def test_tokens_of_another_store_are_not_used(
    by_request: NearStore, shared: Shared, in_request: None
) -> None:
    other = NearStore(Shared(), RequestTokens())
    tokens: set[Token | None] = {by_request.read(None, ["a"]).states["a"]}
    tokens.add(other.read(None, ["a"]).states["a"])
    tokens.add(by_request.read(None, ["a"]).states["a"])
    assert len(tokens) == 2
    assert len(shared.asked) == 2


def test_where_the_store_must_be_asked_it_is(shared: Shared, in_request: None) -> None:
    near = NearStore(shared, RequestTokens(), must_ask=lambda: must_ask)
    must_ask = True
    near.read(None, ["a"]), near.read(None, ["a"])
    assert len(shared.asked) == 2
    must_ask = False
    near.read(None, ["a"])
    assert len(shared.asked) == 2
