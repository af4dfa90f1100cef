"""Reading without a script says what the script says, or asks it, whoever comes in between."""

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_layercache.stores import _recall
from django_layercache.stores.base import Entry, Reading
from django_layercache.stores.redis import RedisStore
from django_layercache.stores.resp import INCOMPLETE, PlainReader, packed
from tests.stores.clocks import RedisClock

LEASE = 30.0
TAGS = ["a", "b"]


@pytest.fixture
def store(redis_clock: RedisClock) -> RedisStore:
    return redis_clock.store


def keep(store: RedisStore, payload: bytes, tags: list[str] = TAGS, key: str = "k") -> None:
    """Store *payload*, and see it once."""
    states = store.read(None, tags).states
    if None not in states.values():
        store.write(key, Entry(dict(states), payload), 60)
        store.read(key, tags)


def scripts_run(clock: RedisClock) -> int:
    stats = clock.client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


def test_what_was_seen_once_is_read_without_a_script(redis_clock: RedisClock) -> None:
    store = redis_clock.store
    keep(store, b"x")
    keep(store, b"y", tags=["b"], key="l")
    before = scripts_run(redis_clock)
    assert store.read("k", TAGS).entry is not None
    assert store.read("k", ()).entry is not None
    assert [reading.entry.payload for reading in store.read_many([("k", TAGS), ("l", "b")])] == [
        b"x",
        b"y",
    ]
    assert store.read(None, TAGS).states.keys() == {"a", "b"}
    store.delete("k")
    assert store.read("k", TAGS).entry is None
    assert scripts_run(redis_clock) == before


def test_a_key_without_tags_is_read_without_a_script(redis_clock: RedisClock) -> None:
    store = redis_clock.store
    generation = store.read(None, ()).sequence[:8]
    store.write("hint", Entry({}, b"x", generation), 60)
    store.read("hint", ())
    before = scripts_run(redis_clock)
    reading = store.read("hint", ())
    assert (reading.entry, reading.sequence[:8]) == (Entry({}, b"x"), generation)
    assert scripts_run(redis_clock) == before


def test_what_is_remembered_is_bounded(store: RedisStore) -> None:
    recall = store._recall = _recall.Recall(store._prefix, store._register, "", max_bytes=4000)
    for number in range(40):
        keep(store, b"x", ["a", f"b{number}"], key=str(number))
        assert store.read(str(number), ["a"]).entry is not None
        for memory, size in ((recall._keys, 4000), (recall._tags, 1000)):
            assert 0 < memory.bytes <= size
            assert memory.bytes == sum(len(one.commands) for one in memory._known.values())


# -- the same as the script ------------------------------------------------------------------


def lose(name: str) -> Callable[[RedisClock], Any]:
    return lambda clock: clock.client.delete(clock.prefix + name)


def plant(field: str, value: str) -> Callable[[RedisClock], Any]:
    return lambda clock: clock.client.hset(f"{clock.prefix}register", field, value)


OPERATIONS: dict[str, Callable[[RedisClock], Any]] = {
    "mark": lambda clock: clock.store.mark("w", ["a"], LEASE),
    "release": lambda clock: clock.store.release("w", ["a"]),
    "release both": lambda clock: clock.store.release("v", TAGS),
    "reset": lambda clock: clock.store.reset(),
    "read": lambda clock: clock.store.read("k", TAGS),
    "keep": lambda clock: keep(clock.store, b"x"),
    "keep less": lambda clock: keep(clock.store, b"y", ["b"]),
    "keep more": lambda clock: keep(clock.store, b"z", [*TAGS, "c"]),
    "delete": lambda clock: clock.store.delete("k"),
    "expire": lambda clock: clock.client.persist(f"{clock.prefix}e:k"),
    "damage": lambda clock: clock.client.set(f"{clock.prefix}e:k", b"L2 and nonsense"),
    "other type": lambda clock: (lose("e:k")(clock), clock.client.rpush(f"{clock.prefix}e:k", 1)),
    "lose a token": lose("t:a"),
    "lose the register": lose("register"),
    "plant a token": lambda clock: clock.client.set(f"{clock.prefix}t:a", b"\xff"),
    "plant a high sequence": plant("sequence", "9007199254740992"),
    "plant a wrong sequence": plant("sequence", "-1"),
    "plant a generation": plant("generation", "short"),
}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=8), st.sampled_from(["", "a", "ab"]))
def test_a_read_without_a_script_says_what_the_script_says(
    redis_clock: RedisClock, operations: list[str], tags: str
) -> None:
    store = redis_clock.store
    lose("e:k")(redis_clock)
    keep(store, b"x")
    for name in operations:
        OPERATIONS[name](redis_clock)
        recalled = store._recall.find("k", tuple(tags))
        replies = store._wires.exchange(recalled.commands, recalled.number)
        plain = recalled.reading(tuple(tags), replies)
        if plain is None:
            continue
        asked = store._run(store._script("read", store._keys("k"), *tags))
        script = store._reading("k", tuple(tags), asked)
        assert (plain.entry, plain.states) == (script.entry, script.states)
        assert plain.sequence == script.sequence
        assert (plain.in_grace, plain.damage) == (script.in_grace, script.damage)
        assert (plain.left is None) == (script.left is None)


# -- whoever comes in between ----------------------------------------------------------------

#: Before, between and after the three commands that matter: the entry's, the tokens', the register's.
SLOTS = range(4)


def another(clock: RedisClock) -> RedisStore:
    """Another process's store in the same namespace."""
    pool, namespace = clock.client.connection_pool, clock.prefix[14:-2]
    return RedisStore(pool, namespace=namespace, grace=0.0)


class Race:
    """A writer, somebody who stores what it has written, and what the server loses, around one read."""

    def __init__(self, clock: RedisClock) -> None:
        self.clock, self.store = (
            clock,
            RedisStore(
                clock.client.connection_pool,
                namespace=clock.prefix[14:-2],
                grace=0.0,
            ),
        )

    def steps(self) -> list[Callable[[], Any]]:
        return [self.mark, self.commit, self.release, self.rebuild]

    def begin(self) -> None:
        self.value = b"old"
        self.rebuild()

    def mark(self) -> None:
        self.store.mark("w", ["a"], LEASE)

    def commit(self) -> None:
        self.value = b"new"

    def release(self) -> None:
        self.store.release("w", ["a"])

    def rebuild(self) -> None:
        keep(self.store, self.value)


LOSSES: list[str | None] = [None, "register", "t:a", "t:b", "e:k"]


def split(commands: bytes) -> Iterator[bytes]:
    reader = PlainReader()
    reader.feed(commands)
    while (command := reader.gets()) is not INCOMPLETE:
        yield packed(*command)


def hits(clock: RedisClock) -> Iterator[tuple[tuple[int, ...], tuple[str | None, int], bytes]]:
    """In which slots the steps were, what was lost in which, and what a hit was answered with."""
    race = Race(clock)
    for slots in combinations_with_replacement(SLOTS, 4):
        for lost in product(LOSSES, SLOTS):
            race.begin()
            reading = read_amid(race, slots, lost)
            if reading is None or reading.entry is None:
                continue
            if reading.entry.tokens == reading.states:
                yield slots, lost, reading.entry.payload


def read_amid(race: Race, slots: tuple[int, ...], lost: tuple[str | None, int]) -> Reading | None:
    recalled = race.store._recall.find("k", TAGS)
    assert recalled is not None
    _, *commands = split(recalled.commands)  # the first asks how long the entry is kept
    replies: list[Any] = [-1]
    for slot, command in zip(SLOTS, [*commands[:3], b""], strict=True):
        for step, place in zip(race.steps(), slots, strict=True):
            if place == slot:
                step()
        if lost[0] and lost[1] == slot:
            lose(lost[0])(race.clock)
        if command:
            replies += race.store._wires.exchange(command, 1)
    return recalled.reading(TAGS, [*replies, b"", 0])


def is_stale(slots: tuple[int, ...], payload: bytes) -> bool:
    """Whether it was committed before the read began that *payload* is old."""
    return payload == b"old" and slots[1] == 0


def test_nothing_that_comes_in_between_makes_it_stale(redis_clock: RedisClock) -> None:
    found = {(is_stale(slots, payload), payload) for slots, _, payload in hits(redis_clock)}
    assert found == {(False, b"old"), (False, b"new")}


def test_without_comparing_generations_something_stale_is_answered(
    redis_clock: RedisClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def are_there(tokens: list[bytes | None], generation: bytes) -> bool:
        return None not in tokens

    store, careless = redis_clock.store, another(redis_clock)
    keep(store, b"x")
    careless.read("k", TAGS)
    store.reset()
    with monkeypatch.context() as patch:
        patch.setattr(_recall, "_are_current", are_there)
        assert is_hit(careless)
    assert not is_hit(store)


def is_hit(store: RedisStore) -> bool:
    reading = store.read("k", TAGS)
    return reading.entry is not None and reading.entry.tokens == reading.states
