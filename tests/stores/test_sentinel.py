"""A primary that a Sentinel looks after, given up for another one."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from redis.sentinel import Sentinel, SentinelConnectionPool

from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import make_store
from django_layercache.stores import sentinel as sentinels
from django_layercache.stores.base import PENDING, Entry
from django_layercache.stores.redis import RedisStore
from tests.proxies import Proxy
from tests.redis_services import SentinelServer
from tests.services import RedisServer, wait_for
from tests.stores.outages import token_of, until_back

LEASE = 30.0
Two = tuple[RedisServer, RedisServer]


@pytest.fixture
def new_store(sentinel: SentinelServer, settings: Any) -> Iterator[Callable[[], RedisStore]]:
    """Makes stores as processes do that have the same settings, each with connections of its own."""
    named = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://{sentinel.service}/0",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [(sentinel.host, sentinel.port), ("127.0.0.1", 1)],
        },
    }
    settings.CACHES = {**settings.CACHES, "own": named}
    settings.LAYERCACHE = {"CACHE": "own"}
    made: list[RedisStore] = []

    def make() -> RedisStore:
        store = make_store(longest_grace=0)
        assert isinstance(store, RedisStore)
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


def test_a_primary_that_dies_is_followed_and_nothing_old_is_trusted(
    new_store: Callable[[], RedisStore], replicated: Two
) -> None:
    store = new_store()
    before = token_of(store, "a")
    store.write("k", Entry({"a": before}, b"x"), None)
    wait_for(lambda: replicated[1].ask("EXISTS", store._entry_key("k")) == "1")
    replicated[0].kill()
    with pytest.raises(StoreUnavailable):
        store.mark("w", ["a"], LEASE)
    until_back(store, within=20)
    reading = store.read("k", ())
    assert reading.entry is not None, "the replica does not have it, and this proves nothing"
    assert reading.states["a"] not in {before, PENDING}


@pytest.mark.parametrize(("how", "awaited"), (("stopped", False), ("cut off", True)))
def test_a_primary_that_was_given_up_and_does_not_know_it_is_not_read_from(
    how: str,
    awaited: bool,
    new_store: Callable[[], RedisStore],
    replicated: Two,
    way: Proxy,
    sentinel: SentinelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connections to it are as good as before. Another process has followed its successor."""
    monkeypatch.setattr(sentinels, "ASK_EVERY", 60.0)  # it is asked sooner where it is impatient
    store, other = new_store(), new_store()
    before = token_of(store, "a")
    with replicated[0].paused() if how == "stopped" else way.deaf():
        wait_for(lambda: sentinel.primary_port == replicated[1].port)
        until_back(other, within=20)
        other.mark("w", ["a"], LEASE)
        other.release("w", ["a"])
    assert "role:master" in replicated[0].ask("INFO", "replication"), "it knows it already"
    reading = asyncio.run(store.aread(None, ["a"])) if awaited else store.read(None, ["a"])
    assert reading.states["a"] == token_of(other, "a") != before


def test_a_primary_that_may_have_a_successor_by_now_is_not_read_from(
    new_store: Callable[[], RedisStore], replicated: Two, sentinel: SentinelServer
) -> None:
    """The Sentinel has lost its patience, and is looking for one."""
    replicated[1].kill()
    store = new_store()
    store.read(None, ["a"])
    with replicated[0].paused():
        wait_for(lambda: "s_down" in sentinel.ask("SENTINEL", "MASTER", sentinel.service))
        with pytest.raises(StoreUnavailable, match="successor"):
            store.read(None, ["a"])
    until_back(store, within=20)


STATE = {
    "ip": "a",
    "port": 1,
    "config-epoch": 0,
    "flags": "master",
    "quorum": "2",
    "num-other-sentinels": 2,
    "down-after-milliseconds": 5000,
    "last-ping-sent": 0,
    "last-ok-ping-reply": 0,
}
BLIND = {**STATE, "last-ping-sent": 4000}
CUT_OFF = {**STATE, "flags": "master,disconnected", "last-ok-ping-reply": 6000}
LATER = {**STATE, "ip": "b", "config-epoch": 1}


@pytest.mark.parametrize(
    ("states", "patience"),
    (
        ((STATE, STATE, STATE), 5),
        ((STATE, STATE, None), 5),
        ((STATE, STATE, BLIND), 5),
        ((STATE, BLIND, BLIND), 1),
        ((STATE, BLIND, None), 1),
        ((STATE, CUT_OFF, CUT_OFF), -1),
        ((STATE, None, None), 0),
        ((STATE,), 5),  # the alias names no more
        ((STATE, STATE, LATER), 5),
        ((STATE, None, LATER), 5),
    ),
)
def test_a_primary_counts_until_enough_of_its_sentinels_can_have_lost_their_patience(
    states: tuple[Any, ...], patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(states)
    monkeypatch.setattr(sentinels.Primary, "_ask", lambda self, sentinel: next(asked))
    manager = Sentinel([("127.0.0.1", 1)] * len(states))
    primary = sentinels.Primary(SentinelConnectionPool("shop", manager))
    assert primary.find() == (("b" if LATER in states else "a", 1), patience)


def test_a_project_may_say_itself_at_which_address_the_primary_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentinels.Primary, "_ask", lambda self, sentinel: STATE)
    manager = Sentinel([("127.0.0.1", 1)], force_master_ip="c")
    primary = sentinels.Primary(SentinelConnectionPool("shop", manager))
    assert primary.get_master_address() == ("c", 1)


def test_sentinels_are_asked_now_and_then_only(
    new_store: Callable[[], RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinels, "ASK_EVERY", 60.0)
    monkeypatch.setattr(sentinels, "_patience", lambda state: 60.0)
    asked = []
    find = sentinels.Primary.find
    monkeypatch.setattr(sentinels.Primary, "find", lambda self: asked.append(1) or find(self))
    store = new_store()
    for _ in range(20):
        store.read(None, ["a"])
    assert len(asked) == 1


@pytest.mark.parametrize("awaited", (False, True))
def test_a_sentinel_that_hangs_keeps_nobody_waiting_but_who_asks_it(
    awaited: bool, new_store: Callable[[], RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinels, "ASK_EVERY", 0.0)
    monkeypatch.setattr(sentinels, "_patience", lambda state: 60.0)
    store, find = new_store(), sentinels.Primary.find
    asking, answers = threading.Event(), threading.Event()

    def hang(self: sentinels.Primary) -> Any:
        asking.set()
        assert answers.wait(10), "everybody waits"
        return find(self)

    async def story() -> None:
        await store.aread(None, ["a"])
        monkeypatch.setattr(sentinels.Primary, "find", hang)
        first = asyncio.create_task(store.aread(None, ["a"]))
        await asyncio.to_thread(asking.wait, 10)
        await (store.aread(None, ["a"]) if awaited else asyncio.to_thread(token_of, store, "a"))
        assert not first.done()
        answers.set()
        await first

    asyncio.run(story())


def test_without_a_sentinel_the_store_is_away(
    new_store: Callable[[], RedisStore],
    sentinel: SentinelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentinels, "ASK_EVERY", 0.0)
    store = new_store()
    store.read(None, ["a"])
    sentinel.kill()
    with pytest.raises(StoreUnavailable, match="no Sentinel"):
        store.read(None, ["a"])
    sentinel.start()
    until_back(store, within=20)
    assert caches["own"].get("k") is None
