"""Whatever somebody puts under the store's keys in Redis: no error, and never an answer that nobody stored."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_layercache.stores import entries
from django_layercache.stores.base import Entry
from tests.stores.clocks import RedisClock

LEASE = 30.0
hammering = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

WRONG_TYPES: dict[str, Callable[[RedisClock, str], object]] = {
    "list": lambda clock, key: clock.client.rpush(key, b"x"),
    "set": lambda clock, key: clock.client.sadd(key, b"x"),
    "hash": lambda clock, key: clock.client.hset(key, "x", "y"),
    "stream": lambda clock, key: clock.client.xadd(key, {"x": "y"}),
    "sorted set": lambda clock, key: clock.client.zadd(key, {"x": 1}),
    "string": lambda clock, key: clock.client.set(key, b"\xff\x00"),
    "empty string": lambda clock, key: clock.client.set(key, b""),
    "number": lambda clock, key: clock.client.set(key, 7),
}


def works(clock: RedisClock) -> None:
    """Go once through everything that a store does, and see that it does it."""
    store = clock.store
    store.mark("v", ["a"], LEASE)
    assert store.read("k", ["a"]).states["a"] is None
    store.release("v", ["a"])
    token = store.read(None, ["a"]).states["a"]
    assert token is not None
    store.write("k", Entry({"a": token}, b"mine"), None)
    reading = store.read("k", ["b"])
    assert reading.entry == Entry({"a": token}, b"mine")
    assert reading.states["a"] == token
    store.reset()
    assert store.read("k", ()).states["a"] not in {token, None}


@pytest.mark.parametrize("kind", WRONG_TYPES)
@pytest.mark.parametrize("name", ("register", "t:a", "e:k"))
def test_a_key_of_another_type_is_as_good_as_none(
    redis_clock: RedisClock, name: str, kind: str
) -> None:
    works(redis_clock)
    redis_clock.client.delete(redis_clock.prefix + name)
    WRONG_TYPES[kind](redis_clock, redis_clock.prefix + name)
    reading = redis_clock.store.read("k", ["a"])
    assert (reading.entry is None and bool(reading.damage)) or name != "e:k"
    works(redis_clock)


@hammering
@given(st.binary())
def test_any_bytes_for_an_entry_are_a_miss(redis_clock: RedisClock, data: bytes) -> None:
    redis_clock.client.set(f"{redis_clock.prefix}e:k", data)
    reading = redis_clock.store.read("k", ["a"])
    assert reading.entry is None
    assert reading.damage


@hammering
@given(data=st.data())
def test_a_damaged_entry_is_a_miss_or_has_a_state_for_each_of_its_tags(
    redis_clock: RedisClock, data: st.DataObject
) -> None:
    states = redis_clock.store.read(None, ["a", "b"]).states
    packed = bytearray(entries.pack("k", Entry(dict(states), b"x")))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    redis_clock.client.set(f"{redis_clock.prefix}e:k", bytes(packed))
    reading = redis_clock.store.read("k", ["a", "b"])
    if reading.entry is not None:
        assert reading.entry.tokens.keys() <= reading.states.keys()
    assert {tag: reading.states[tag] for tag in "ab"} == states


@hammering
@given(parts=st.lists(st.binary(max_size=4) | st.sampled_from([b"\0a", b"\0b", b"\1"]), max_size=7))
def test_an_entry_with_any_names_has_the_right_state_for_each_of_its_tags(
    redis_clock: RedisClock, parts: list[bytes]
) -> None:
    states = redis_clock.store.read(None, ["a", "b"]).states
    names = b"".join(part + b"\xff" for part in parts)
    start = entries.pack("k", Entry({}, b""))[:18]
    planted = start + struct.pack("<I", len(names)) + names + bytes(100)
    redis_clock.client.set(f"{redis_clock.prefix}e:k", planted)
    reading = redis_clock.store.read("k", ())
    if reading.entry is not None:
        assert reading.entry.tokens.keys() == reading.states.keys()
        assert reading.states.items() >= {
            (tag, state) for tag, state in states.items() if tag in reading.entry.tokens
        }


@hammering
@given(token=st.binary())
def test_any_bytes_for_a_token_make_no_old_entry_fresh(
    redis_clock: RedisClock, token: bytes
) -> None:
    store = redis_clock.store
    old = store.read(None, ["a"]).states["a"]
    assert old is not None
    store.write("k", Entry({"a": old}, b"old"), None)
    store.mark("w", ["a"], LEASE)
    store.release("w", ["a"])
    generation = store.read(None, ()).sequence[:8].encode()
    for planted in (token, generation + token):
        redis_clock.client.set(f"{redis_clock.prefix}t:a", planted)
        reading = store.read("k", ["a"])
        assert reading.states["a"] != old or planted == old.encode()
    redis_clock.client.delete(f"{redis_clock.prefix}t:a")


numbers = st.one_of(
    st.integers().map(lambda number: b"%d" % number),
    st.floats().map(lambda number: repr(number).encode()),
    st.sampled_from(
        [b"nan", b"inf", b"-inf", b"1e300", b"-1", b"0x10", b"9007199254740992", b"", b" "]
    ),
    st.binary(),
)


@hammering
@given(
    field=st.sampled_from(["generation", "sequence", "distrust", "identity", "sweep"]),
    value=numbers,
)
def test_any_bytes_in_the_register_make_no_old_entry_fresh(
    redis_clock: RedisClock, field: str, value: bytes
) -> None:
    works(redis_clock)
    store = redis_clock.store
    before = store.read(None, ["a", "c"]).states
    redis_clock.advance(1)
    redis_clock.client.hset(f"{redis_clock.prefix}register", field, value)
    seen = []
    for _ in range(3):
        store.mark("w", ["a"], LEASE)
        assert store.read(None, ["a"]).states["a"] is None
        store.release("w", ["a"])
        seen.append(store.read(None, ["a"]).states["a"])
    assert None not in seen, "nothing is ever trusted again"
    assert len({*seen, before["a"]}) == 4, "a token came again"
    works(redis_clock)


@hammering
@given(value=st.binary())
def test_any_bytes_for_marks_are_forgotten_or_are_marks(
    redis_clock: RedisClock, value: bytes
) -> None:
    redis_clock.client.hset(f"{redis_clock.prefix}register", "m:a", value)
    assert redis_clock.store.read("k", ["a"]).states.keys() >= {"a"}
    redis_clock.client.hdel(f"{redis_clock.prefix}register", "m:a")
    works(redis_clock)


def test_text_that_has_no_utf8_is_no_error(redis_clock: RedisClock) -> None:
    store, odd = redis_clock.store, "\ud800"
    states = store.read(odd, [odd]).states
    assert states[odd] is not None
    store.mark("w", [odd], LEASE)
    assert store.read(None, [odd]).states[odd] is None
    store.release("w", [odd])
    store.write(odd, Entry(dict(states), b"x"), None)
    reading = store.read(odd, ())
    assert reading.entry == Entry(dict(states), b"x")
    assert reading.entry.tokens.keys() == {odd}
    assert reading.states[odd] not in {None, states[odd]}
    store.delete(odd)
