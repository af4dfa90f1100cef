"""The store contract (django_layercache/stores/base.py), sentence by sentence, over every store."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_layercache.engine import is_not_after
from django_layercache.stores.base import PENDING, Entry, Store, Token
from tests.stores.clocks import Clock

LEASE = 30.0


def token_of(store: Store, tag: str) -> Token:
    token = store.read(None, [tag]).states[tag]
    assert token is not PENDING
    return token


def is_pending(store: Store, tag: str) -> bool:
    return store.read(None, [tag]).states[tag] is PENDING


# -- tokens ----------------------------------------------------------------------------------


def test_a_tag_that_nobody_has_seen_is_minted_and_never_reported_missing(store: Store) -> None:
    assert isinstance(store.read(None, ["a"]).states["a"], str)


def test_a_minted_token_stays(store: Store) -> None:
    assert token_of(store, "a") == token_of(store, "a")


def test_every_tag_has_a_token_of_its_own(store: Store) -> None:
    tokens = store.read(None, ["a", "b", "c"]).states.values()
    assert len(set(tokens)) == 3


def test_tokens_compare_as_strings_in_the_order_in_which_they_were_drawn(store: Store) -> None:
    drawn = []
    for number in range(30):
        tag = f"t{number % 4}"
        store.mark("w", [tag], LEASE)
        store.release("w", [tag])
        drawn.append(token_of(store, tag))
    assert drawn == sorted(set(drawn))
    assert len({token[:8] for token in drawn}) == 1


def test_the_sequence_of_a_reading_is_not_before_the_tokens_that_it_holds(store: Store) -> None:
    for _ in range(3):
        store.mark("w", ["a"], LEASE)
        store.release("w", ["a"])
        reading = store.read(None, ["a", "b"])
        assert all(is_not_after(token, reading.sequence) for token in reading.states.values())


def test_a_token_that_is_drawn_later_is_after_the_sequence_of_a_reading(store: Store) -> None:
    before = store.read(None, ["a"]).sequence
    store.mark("w", ["a"], LEASE)
    store.release("w", ["a"])
    assert not is_not_after(token_of(store, "a"), before)
    assert not is_not_after(token_of(store, "minted"), before)


def test_a_token_never_comes_again(clock: Clock) -> None:
    store, seen = clock.store, set()
    for number in range(20):
        seen.add(token_of(store, "a"))
        store.mark("w", ["a"], LEASE)
        if number % 3 == 0:
            store.release("w", ["a"])
        elif number % 3 == 1:
            clock.advance(LEASE + 1)
        else:
            store.release("w", ["a"])
            store.reset()
    assert len(seen) == 20


def test_a_tag_may_have_any_name(store: Store) -> None:
    names = ["", " ", "a b", "a\nb", "a\x00b", "m:a", "t:a", "ä€😀", "{x}", "'\"\\", "x" * 5000]
    tokens = store.read(None, names).states
    assert len(set(tokens.values())) == len(names)
    store.mark("w", names, LEASE)
    assert set(store.read(None, names).states.values()) == {PENDING}
    store.release("w", names)
    assert not set(store.read(None, names).states.values()) & {PENDING, *tokens.values()}


def test_thousands_of_tags_go_in_one_call(store: Store) -> None:
    names = [f"tag{number}" for number in range(3000)]
    before = store.read(None, names).states
    store.mark("w", names, LEASE)
    store.release("w", names)
    entry = Entry({tag: token for tag, token in before.items() if token}, b"x")
    store.write("k", entry, None)
    reading = store.read("k", ())
    assert reading.entry == entry
    assert reading.states.keys() == set(names)
    assert not set(before.values()) & set(reading.states.values())


def test_the_same_tag_twice_in_one_call_is_once(store: Store) -> None:
    assert list(store.read(None, ["a", "a"]).states) == ["a"]
    store.mark("w", ["a", "a"], LEASE)
    store.release("w", ["a", "a"])
    assert not is_pending(store, "a")


def test_calls_without_tags_do_nothing(store: Store) -> None:
    store.mark("w", [], LEASE)
    store.release("w", [])
    assert store.read(None, ()).states == {}
    assert store.read_many([]) == []


# -- marks -----------------------------------------------------------------------------------


def test_a_marked_tag_is_pending(store: Store) -> None:
    token_of(store, "a")
    store.mark("w", ["a"], LEASE)
    assert is_pending(store, "a")
    assert is_pending(store, "a")


def test_a_tag_that_was_never_read_can_be_marked(store: Store) -> None:
    store.mark("w", ["a"], LEASE)
    assert is_pending(store, "a")


def test_a_mark_makes_no_other_tag_pending(store: Store) -> None:
    before = token_of(store, "b")
    store.mark("w", ["a"], LEASE)
    assert token_of(store, "b") == before


def test_a_release_gives_a_new_token(store: Store) -> None:
    before = token_of(store, "a")
    store.mark("w", ["a"], LEASE)
    store.release("w", ["a"])
    assert token_of(store, "a") > before


def test_a_release_without_a_mark_gives_a_new_token_all_the_same(store: Store) -> None:
    before = token_of(store, "a")
    store.release("w", ["a"])
    assert token_of(store, "a") > before


def test_a_release_after_the_lease_gives_a_new_token_all_the_same(clock: Clock) -> None:
    clock.store.mark("w", ["a"], LEASE)
    clock.advance(LEASE + 1)
    minted = token_of(clock.store, "a")
    clock.store.release("w", ["a"])
    assert token_of(clock.store, "a") > minted


@pytest.mark.parametrize("order", (("v", "w"), ("w", "v")))
def test_a_release_takes_its_own_mark_away_and_the_last_one_settles_the_tag(
    store: Store, order: tuple[str, str]
) -> None:
    before = token_of(store, "a")
    store.mark("v", ["a"], LEASE)
    store.mark("w", ["a"], LEASE)
    store.release(order[0], ["a"])
    assert is_pending(store, "a")
    store.release(order[1], ["a"])
    assert token_of(store, "a") > before


def test_a_release_of_one_who_has_no_mark_leaves_the_marks_of_others(store: Store) -> None:
    store.mark("w", ["a"], LEASE)
    store.release("v", ["a"])
    assert is_pending(store, "a")


def test_a_release_of_some_of_the_tags_leaves_the_marks_on_the_others(store: Store) -> None:
    store.mark("w", ["a", "b"], LEASE)
    store.release("w", ["a"])
    assert not is_pending(store, "a")
    assert is_pending(store, "b")


def test_a_tag_whose_lease_ran_out_is_minted_anew(clock: Clock) -> None:
    before = token_of(clock.store, "a")
    clock.store.mark("w", ["a"], LEASE)
    clock.advance(LEASE - 1)
    assert is_pending(clock.store, "a")
    clock.advance(2)
    assert token_of(clock.store, "a") > before


def test_each_mark_has_a_lease_of_its_own(clock: Clock) -> None:
    clock.store.mark("v", ["a"], LEASE)
    clock.advance(LEASE / 2)
    clock.store.mark("w", ["a"], LEASE)
    clock.advance(LEASE / 2 + 1)
    assert is_pending(clock.store, "a")
    clock.store.release("w", ["a"])
    assert not is_pending(clock.store, "a")


def test_who_marks_again_gets_a_new_lease(clock: Clock) -> None:
    clock.store.mark("w", ["a"], LEASE)
    clock.advance(LEASE / 2)
    clock.store.mark("w", ["a"], LEASE)
    clock.advance(LEASE / 2 + 1)
    assert is_pending(clock.store, "a")
    clock.advance(LEASE / 2)
    assert not is_pending(clock.store, "a")


# -- entries ---------------------------------------------------------------------------------


def test_an_entry_comes_back_as_it_was_with_the_states_of_all_its_tags(store: Store) -> None:
    states = store.read(None, ["a", "b"]).states
    entry = Entry({"a": states["a"], "b": states["b"]}, b"\x00payload\xff")
    store.write("k", entry, None)
    reading = store.read("k", ["c"])
    assert reading.entry == entry
    assert reading.states.keys() == {"a", "b", "c"}
    assert {tag: reading.states[tag] for tag in "ab"} == states


def test_an_entry_comes_back_whatever_became_of_its_tags(store: Store) -> None:
    before = token_of(store, "a")
    store.write("k", Entry({"a": before}, b"x"), None)
    store.mark("w", ["a"], LEASE)
    pending = store.read("k", ())
    assert pending.entry is not None
    assert pending.states == {"a": PENDING}
    store.release("w", ["a"])
    changed = store.read("k", ())
    assert changed.entry is not None
    assert changed.entry.tokens == {"a": before}
    assert changed.states["a"] not in {before, PENDING}


def test_a_key_without_an_entry_is_no_error(store: Store) -> None:
    reading = store.read("k", ["a"])
    assert reading.entry is None
    assert reading.states.keys() == {"a"}


def test_without_a_key_no_entry_is_fetched(store: Store) -> None:
    store.write("", Entry({}, b"x"), None)
    assert store.read(None, ()).entry is None
    assert store.read("", ()).entry == Entry({}, b"x")


def test_an_entry_replaces_the_one_before(store: Store) -> None:
    store.write("k", Entry({}, b"1"), None)
    store.write("k", Entry({"a": token_of(store, "a")}, b"2"), None)
    reading = store.read("k", ())
    assert reading.entry is not None
    assert reading.entry.payload == b"2"


def test_an_entry_is_gone_after_its_timeout_and_without_one_it_stays(clock: Clock) -> None:
    clock.store.write("short", Entry({}, b"x"), 0.05)
    clock.store.write("long", Entry({}, b"x"), 60)
    clock.store.write("for ever", Entry({}, b"x"), None)
    assert clock.store.read("short", ()).entry is not None
    clock.let_entries_age(0.05)
    assert clock.store.read("short", ()).entry is None
    assert clock.store.read("long", ()).entry is not None
    assert clock.store.read("for ever", ()).entry is not None


def test_a_new_entry_has_a_new_timeout(clock: Clock) -> None:
    clock.store.write("k", Entry({}, b"x"), 0.05)
    clock.store.write("k", Entry({}, b"x"), None)
    clock.let_entries_age(0.05)
    assert clock.store.read("k", ()).entry is not None


def test_a_deleted_entry_is_gone(store: Store) -> None:
    store.write("k", Entry({}, b"x"), None)
    store.delete("k")
    store.delete("k")
    assert store.read("k", ()).entry is None


def test_many_are_read_as_each_would_be_alone(store: Store) -> None:
    token = token_of(store, "a")
    store.write("k", Entry({"a": token}, b"x"), None)
    store.mark("w", ["b"], LEASE)
    first, second, third = store.read_many([("k", ["c"]), ("none", ["a", "b"]), ("k", ())])
    assert first.entry == third.entry == Entry({"a": token}, b"x")
    assert first.states.keys() == {"a", "c"}
    assert second.entry is None
    assert second.states == {"a": token, "b": PENDING}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    key=st.text(st.characters(exclude_categories=["Cs"])),
    tags=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5, unique=True),
    payload=st.binary(),
)
def test_any_key_tags_and_payload_come_back(
    store: Store, key: str, tags: list[str], payload: bytes
) -> None:
    states = store.read(None, tags).states
    store.write(key, Entry(dict(states), payload), None)
    reading = store.read(key, ())
    assert reading.entry == Entry(states, payload)
    assert reading.states == states


# -- the whole store -------------------------------------------------------------------------


def test_after_a_reset_nothing_that_was_stored_is_reachable(store: Store) -> None:
    states = store.read(None, ["a", "b"]).states
    store.write("k", Entry({"a": states["a"]}, b"x"), None)
    store.reset()
    reading = store.read("k", ["a", "b"])
    assert reading.entry is None or reading.entry.tokens != {"a": reading.states["a"]}
    assert not set(reading.states.values()) & {PENDING, *states.values()}


def test_what_is_stored_after_a_reset_by_one_who_read_before_it_is_not_reachable(
    store: Store,
) -> None:
    before = token_of(store, "a")
    store.reset()
    store.write("k", Entry({"a": before}, b"x"), None)
    assert store.read("k", ()).states["a"] != before


def test_an_entry_without_tags_tells_that_it_is_from_before_a_reset(store: Store) -> None:
    before = store.read(None, ()).sequence[:8]
    store.write("k", Entry({}, b"x", before), None)
    reading = store.read("k", ())
    assert reading.entry is not None
    assert reading.entry.generation == reading.sequence[:8] == before
    store.reset()
    store.write("l", Entry({}, b"x", before), None)  # late
    for key in "kl":
        reading = store.read(key, ())
        assert reading.entry is None or reading.entry.generation != reading.sequence[:8]


def test_a_reset_leaves_the_marks(store: Store) -> None:
    store.mark("w", ["a"], LEASE)
    store.reset()
    assert is_pending(store, "a")
    store.release("w", ["a"])
    assert not is_pending(store, "a")


def test_a_position_from_before_a_reset_is_before_everything(store: Store) -> None:
    before = store.read(None, ["a"]).sequence
    store.reset()
    assert not is_not_after(token_of(store, "a"), before)


def test_a_closed_store_can_be_used_again(store: Store) -> None:
    before = token_of(store, "a")
    store.close()
    assert token_of(store, "a") == before


def test_the_store_is_exact(store: Store) -> None:
    assert store.exact


# -- atomic ----------------------------------------------------------------------------------


def hammer(*workers: Callable[[], None]) -> None:
    """Run all at once, and raise what any of them raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(workers))

    def run(worker: Callable[[], None]) -> None:
        try:
            start.wait()
            worker()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_all_who_mint_at_once_get_the_same_token(store: Store) -> None:
    seen: dict[str, set[Token]] = {f"t{number}": set() for number in range(40)}

    def mint() -> None:
        for tag, tokens in seen.items():
            tokens.add(token_of(store, tag))

    hammer(*[mint] * 6)
    assert [len(tokens) for tokens in seen.values()] == [1] * 40


def test_every_release_at_once_draws_a_token_of_its_own(store: Store) -> None:
    seen: list[Token] = []

    def write(writer: str) -> Callable[[], None]:
        def run() -> None:
            for _ in range(40):
                store.mark(writer, [writer], LEASE)
                store.release(writer, [writer])
                seen.append(token_of(store, writer))

        return run

    hammer(*(write(f"w{number}") for number in range(4)))
    assert len(set(seen)) == 160


def test_a_tag_is_pending_as_long_as_anybody_has_a_mark_on_it(store: Store) -> None:
    def write(writer: str) -> Callable[[], None]:
        def run() -> None:
            for _ in range(40):
                store.mark(writer, ["a"], LEASE)
                assert is_pending(store, "a")
                store.release(writer, ["a"])

        return run

    hammer(*(write(f"w{number}") for number in range(4)))
    assert not is_pending(store, "a")


def test_no_hit_is_from_before_a_commit_that_had_returned(store: Store) -> None:
    """The whole protocol by hand, with real threads; the database is a number."""
    database, returned, hits = [0], [0], [0]
    lock = threading.Lock()

    def write(writer: str) -> Callable[[], None]:
        def run() -> None:
            for _ in range(30):
                store.mark(writer, ["a"], LEASE)
                with lock:
                    database[0] += 1
                    mine = database[0]
                store.release(writer, ["a"])
                with lock:
                    returned[0] = max(returned[0], mine)

        return run

    def read() -> None:
        while returned[0] < 60 and hits[0] < 3000:
            least = returned[0]
            reading = store.read("k", ["a"])
            token = reading.states["a"]
            if reading.entry is not None and reading.entry.tokens == {"a": token}:
                hits[0] += 1
                assert int(reading.entry.payload) >= least
            elif token is not PENDING:
                store.write("k", Entry({"a": token}, b"%d" % database[0]), None)

    hammer(write("v"), write("w"), read, read)
