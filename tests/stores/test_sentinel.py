"""A primary that a Sentinel looks after, given up for another one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches

from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import make_store
from django_layercache.stores import sentinel as sentinels
from django_layercache.stores.base import PENDING, Entry
from django_layercache.stores.redis import RedisStore
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


def test_a_primary_that_was_given_up_and_does_not_know_it_is_not_read_from(
    new_store: Callable[[], RedisStore],
    replicated: Two,
    sentinel: SentinelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was stopped, so its connections are as good as before. Another process has followed its successor."""
    monkeypatch.setattr(sentinels, "ASK_EVERY", 0.0)
    store, other = new_store(), new_store()
    before = token_of(store, "a")
    with replicated[0].paused():
        wait_for(lambda: sentinel.primary_port == replicated[1].port)
        until_back(other, within=20)
        other.mark("w", ["a"], LEASE)
        other.release("w", ["a"])
    assert "role:master" in replicated[0].ask("INFO", "replication"), "it knows it already"
    assert token_of(store, "a") == token_of(other, "a") != before


def test_sentinels_are_asked_now_and_then_only(
    new_store: Callable[[], RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinels, "ASK_EVERY", 60.0)
    asked = []
    ask = sentinels.Primary.get_master_address
    monkeypatch.setattr(
        sentinels.Primary, "get_master_address", lambda self: asked.append(1) or ask(self)
    )
    store = new_store()
    for _ in range(20):
        store.read(None, ["a"])
    assert len(asked) == 2  # for the address, and by the connection


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
