"""A Redis server that is away, slow, full, or back with other data."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import PENDING, Entry
from django_layercache.stores.breaker import Breaker
from django_layercache.stores.redis import RedisStore
from django_layercache.stores.wire import Wire
from tests.proxies import Proxy
from tests.services import RedisServer
from tests.stores.outages import LEASE, OPERATIONS, token_of, until_back


@pytest.fixture
def store(fresh_redis: RedisServer) -> Iterator[RedisStore]:
    made = new_store(fresh_redis)
    yield made
    made.close()


def new_store(server: RedisServer, **options: object) -> RedisStore:
    pool = redis.ConnectionPool(host=server.host, port=server.port)
    return RedisStore(pool, **{"grace": 0.0, **options})


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_that_a_killed_server_is_away(
    name: str, store: RedisStore, fresh_redis: RedisServer
) -> None:
    OPERATIONS[name](store)
    fresh_redis.kill()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            OPERATIONS[name](store)


@pytest.mark.parametrize("is_connected", (True, False))
def test_a_paused_server_costs_one_wait_and_then_none(
    store: RedisStore, fresh_redis: RedisServer, waits: list[str], is_connected: bool
) -> None:
    """Each wait has a time-out; what is counted is how many there are one after the other."""
    if is_connected:
        store.read(None, ["a"])
    waits.clear()
    with fresh_redis.paused():
        with pytest.raises(StoreUnavailable):
            store.read(None, ["a"])
        assert len(waits) == is_connected  # else it was for redis-py's first words
        with pytest.raises(StoreUnavailable, match="a moment ago"):
            store.read(None, ["a"])
        assert len(waits) == is_connected
    until_back(store)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been waited for: answers."""
    seen: list[str] = []
    exchange = Wire.exchange

    def counted(self: Wire, *args: Any) -> Any:
        seen.append("answer")
        return exchange(self, *args)

    monkeypatch.setattr(Wire, "exchange", counted)
    return seen


def test_a_server_that_is_back_is_used_again_and_trusts_none_of_its_old_tokens(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    before = token_of(store, "a")
    store.write("k", Entry({"a": before}, b"x"), None)
    fresh_redis.kill()
    with pytest.raises(StoreUnavailable):
        store.read(None, ["a"])
    fresh_redis.start()
    until_back(store)
    assert token_of(store, "a") not in {before, PENDING}
    assert store.read("k", ()).entry is None


def test_a_pooled_connection_that_the_server_closed_is_no_outage(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    before = token_of(store, "a")
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).client_kill_filter(_type="normal")
    assert token_of(store, "a") == before


def test_a_server_that_restarts_from_a_dump_serves_nothing_that_was_in_it(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    old = token_of(store, "a")
    store.write("k", Entry({"a": old}, b"old"), None)
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).save()
    store.mark("w", ["a"], LEASE)
    store.release("w", ["a"])
    fresh_redis.kill()
    fresh_redis.start()
    until_back(store)
    reading = store.read("k", ())
    assert reading.entry is not None, "the dump was not loaded, and this proves nothing"
    assert reading.entry.tokens == {"a": old}
    assert reading.states["a"] != old


def test_a_mark_that_a_dump_does_not_have_is_feared_for_the_grace(
    fresh_redis: RedisServer,
) -> None:
    store = new_store(fresh_redis, grace=0.6)
    time.sleep(0.7)
    assert token_of(store, "a") is PENDING  # the first one to come begins the grace
    time.sleep(0.7)
    assert token_of(store, "a") is not PENDING
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).save()
    store.mark("w", ["a"], LEASE)
    fresh_redis.kill()
    fresh_redis.start()
    until_back(store)
    reading = store.read(None, ["a", "b"])
    assert reading.in_grace
    assert set(reading.states.values()) == {PENDING}
    store.release("v", ["b"])
    assert token_of(store, "b") is PENDING
    time.sleep(0.7)
    reading = store.read(None, ["a", "b"])
    assert not reading.in_grace
    assert PENDING not in reading.states.values()
    store.close()


def test_a_grace_is_ended_for_the_generation_that_it_belongs_to_and_for_no_other(
    fresh_redis: RedisServer,
) -> None:
    store = new_store(fresh_redis, grace=60.0)
    reading = store.read(None, ["a"])
    assert reading.in_grace
    store.end_grace("another!" + "0" * 16)
    assert store.read(None, ["a"]).in_grace
    store.end_grace(reading.sequence)
    assert not store.read(None, ["a"]).in_grace
    assert token_of(store, "a") is not PENDING
    store.close()


def test_a_flushed_server_makes_everything_pending_for_the_grace(
    fresh_redis: RedisServer,
) -> None:
    store = new_store(fresh_redis, grace=60.0)
    store.end_grace(store.read(None, ()).sequence)
    before = token_of(store, "a")
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).flushall()
    assert token_of(store, "a") is PENDING
    store.end_grace(store.read(None, ()).sequence)
    assert token_of(store, "a") not in {before, PENDING}
    store.close()


def test_flushed_scripts_are_sent_again(store: RedisStore, fresh_redis: RedisServer) -> None:
    before = token_of(store, "a")
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).script_flush()
    assert token_of(store, "a") == before
    store.release("w", ["a"])
    assert token_of(store, "a") != before


def test_a_full_server_refuses_marks_as_one_that_is_away(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    admin = redis.Redis(host=fresh_redis.host, port=fresh_redis.port)
    before = token_of(store, "a")
    admin.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="refuses"):
        store.mark("w", ["a"], LEASE)
    store.write("k", Entry({}, b"x" * 1000), None)  # there is no room for it, and that is all
    assert admin.exists(store._entry_key("k")) == 0
    admin.config_set("maxmemory", 0)
    store.mark("w", ["a"], LEASE)
    assert token_of(store, "a") is PENDING
    store.release("w", ["a"])
    assert token_of(store, "a") not in {before, PENDING}


def test_a_server_that_became_a_replica_refuses_marks_as_one_that_is_away(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    admin = redis.Redis(host=fresh_redis.host, port=fresh_redis.port)
    token_of(store, "a")
    admin.replicaof(fresh_redis.host, "1")
    for name in ("mark", "release", "write"):
        with pytest.raises(StoreUnavailable):
            OPERATIONS[name](store)
    admin.replicaof("NO", "ONE")
    store.mark("w", ["a"], LEASE)


@pytest.mark.parametrize("name", ("read", "read_many"))
def test_a_server_that_became_a_replica_answers_nothing_on_connections_from_before(
    name: str, store: RedisStore, fresh_redis: RedisServer
) -> None:
    """Its tokens are those of before the first commit that its successor has seen."""
    OPERATIONS[name](store)
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).replicaof(fresh_redis.host, "1")
    with pytest.raises(StoreUnavailable):
        OPERATIONS[name](store)


def test_a_primary_without_the_replicas_that_it_was_told_to_have_answers_nothing(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    """One of them may have been promoted behind its back."""
    before = token_of(store, "a")
    admin = redis.Redis(host=fresh_redis.host, port=fresh_redis.port)
    admin.config_set("min-replicas-to-write", 1)
    for name in ("read", "read_many", "mark", "release"):
        with pytest.raises(StoreUnavailable, match="refuses"):
            OPERATIONS[name](store)
    admin.config_set("min-replicas-to-write", 0)
    assert token_of(store, "a") == before


def test_a_primary_that_was_made_a_replica_is_left_for_whoever_has_its_address_now(
    replicated: tuple[RedisServer, RedisServer],
) -> None:
    """A name that leads to another server after a failover, and connections that are as good as before."""
    primary, replica = replicated
    proxy = Proxy(primary)
    store = RedisStore(redis.ConnectionPool(host="127.0.0.1", port=proxy.port), grace=0.0)
    before = token_of(store, "a")
    replica.promote()
    primary.follow(replica)
    proxy.target = replica
    assert token_of(store, "a") not in {before, PENDING}
    store.mark("w", ["a"], LEASE)
    assert token_of(store, "a") is PENDING
    store.close()
    proxy.close()


def test_wrong_credentials_are_a_server_that_is_away(fresh_redis: RedisServer) -> None:
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).config_set("requirepass", "right")
    pool = redis.ConnectionPool(host=fresh_redis.host, port=fresh_redis.port, password="wrong")
    store = RedisStore(pool)
    for operation in OPERATIONS.values():
        with pytest.raises(StoreUnavailable):
            operation(store)


def test_an_address_where_nothing_is_is_a_server_that_is_away(fresh_redis: RedisServer) -> None:
    fresh_redis.stop()
    store = new_store(fresh_redis)
    for operation in OPERATIONS.values():
        with pytest.raises(StoreUnavailable):
            operation(store)


# -- the breaker -----------------------------------------------------------------------------


class Hand:
    """A hand-moved clock in place of the module ``time``."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    made = Hand()
    monkeypatch.setattr("django_layercache.stores.breaker.time", made)
    return made


def is_open(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except StoreUnavailable:
        return True
    return False


def test_a_breaker_is_closed_at_first(hand: Hand) -> None:
    assert not is_open(Breaker())


def test_a_breaker_opens_with_a_failure_and_lets_one_probe_through_after_a_while(
    hand: Hand,
) -> None:
    breaker = Breaker(shortest=1.0)
    breaker.failed("cut")
    assert is_open(breaker)
    hand.now += 1.0
    assert [is_open(breaker) for _ in range(3)] == [False, True, True]


def test_a_breaker_lets_nobody_else_through_before_the_probe_has_an_answer(hand: Hand) -> None:
    """An answer takes longer than the shortest pause, and a site has many threads."""
    breaker = Breaker(shortest=0.1, longest=2.0)
    breaker.failed("cut")
    hand.now += 0.1
    assert not is_open(breaker)
    hand.now += 1.0
    assert is_open(breaker)
    breaker.failed("cut")
    hand.now += 0.2
    assert not is_open(breaker)


def test_a_breaker_waits_longer_after_each_failed_probe_up_to_a_bound(hand: Hand) -> None:
    breaker = Breaker(shortest=1.0, longest=4.0)
    waits = []
    for _ in range(5):
        breaker.failed("cut")
        started = hand.now
        while is_open(breaker):
            hand.now += 0.5
        waits.append(hand.now - started)
    assert waits == [1.0, 2.0, 4.0, 4.0, 4.0]


def test_a_breaker_takes_many_failures_at_once_for_one(hand: Hand) -> None:
    breaker = Breaker(shortest=1.0)
    for _ in range(10):
        breaker.failed("cut")
    hand.now += 1.0
    assert not is_open(breaker)


def test_a_breaker_closes_with_a_success_and_begins_anew(hand: Hand) -> None:
    breaker = Breaker(shortest=1.0)
    breaker.failed("cut")
    breaker.failed("cut")
    breaker.succeeded()
    assert not is_open(breaker)
    breaker.failed("cut")
    hand.now += 1.0
    assert not is_open(breaker)


def test_a_probe_that_never_answers_does_not_keep_a_breaker_open_for_ever(hand: Hand) -> None:
    breaker = Breaker(shortest=1.0)
    breaker.failed("cut")
    hand.now += 1.0
    assert not is_open(breaker)
    hand.now += 10.0
    assert not is_open(breaker)
