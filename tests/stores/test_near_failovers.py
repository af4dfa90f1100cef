"""The near tier's level `pushed` where another server takes the tokens over: behind Sentinels, and in a cluster."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.cluster import RedisCluster as Client
from redis.sentinel import Sentinel, SentinelConnectionPool

from django_layercache.handlers import get_engine
from django_layercache.stores.base import PENDING
from django_layercache.stores.cluster import ClusterStore
from django_layercache.stores.near import NearStore
from django_layercache.stores.near_pushed import PushedTokens
from django_layercache.stores.redis import RedisStore
from tests.proxies import Proxy
from tests.redis_services import RedisCluster, SentinelServer
from tests.services import RedisServer, wait_for
from tests.stores.near_tools import Tier, is_known, until
from tests.stores.outages import token_of, until_back
from tests.stores.test_cluster import CACHES

LEASE = 30.0
Two = tuple[RedisServer, RedisServer]
Make = Callable[..., Tier]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes tiers, closed at the end."""
    made: list[Tier] = []

    def make(new_store: Callable[[], RedisStore]) -> Tier:
        made.append(Tier(new_store))
        return made[-1]

    yield make
    for tier in made:
        tier.close()


def is_heard(tier: Tier) -> None:
    """What somebody else changes is, where it is heard of now."""
    tier.learn("a", "b")
    tier.other.mark("w", ["a"], LEASE)
    until(lambda: not is_known(tier.known, "a"))
    assert tier.near.read(None, ["a"]).states == {"a": PENDING}
    tier.other.release("w", ["a"])
    tier.learn("a")


# -- behind Sentinels ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ("stopped", "cut off"))
def test_a_primary_that_was_given_up_is_not_listened_to(
    how: str, make: Make, replicated: Two, way: Proxy, sentinel: SentinelServer
) -> None:
    manager = Sentinel([(sentinel.host, sentinel.port)])
    pool = SentinelConnectionPool(sentinel.service, manager)
    tier = make(lambda: RedisStore(pool, grace=0))
    tier.known._bound = 60.0  # what follows is not because this is over
    is_heard(tier)
    before = tier.near.read(None, ["a"]).states["a"]
    with replicated[0].paused() if how == "stopped" else way.deaf():
        wait_for(lambda: sentinel.primary_port == replicated[1].port)
        until_back(tier.other, within=20)
        tier.other.release("w", ["a"])
        until(lambda: not is_known(tier.known, "a"))
    assert "role:master" in replicated[0].ask("INFO", "replication"), "it knows it already"
    until_back(tier.near, within=20)
    assert tier.near.read(None, ["a"]).states["a"] == token_of(tier.other, "a") != before
    tier.known._bound = 0.5
    is_heard(tier)


# -- a cluster -------------------------------------------------------------------------------


def in_cluster(cluster: RedisCluster, namespace: str) -> Callable[[], ClusterStore]:
    return lambda: ClusterStore(
        lambda: Client.from_url(cluster.url), namespace=namespace, grace=0.0
    )


def test_the_server_of_the_tokens_pushes_them(make: Make, redis_cluster: RedisCluster) -> None:
    is_heard(make(in_cluster(redis_cluster, secrets.token_hex(4))))


def test_tokens_that_move_to_another_server_are_heard_of_there(
    make: Make, redis_cluster: RedisCluster
) -> None:
    tier = make(in_cluster(redis_cluster, secrets.token_hex(4)))
    is_heard(tier)
    tier.known._bound = 0.5
    link, before = tier.link(), tier.near.read(None, ["a"]).states["a"]
    with redis_cluster.moving(tier.shared._register):
        pass
    until(lambda: tier.link() not in {link, None})
    until(lambda: tier.near.read(None, ["a"]).states["a"] not in {before, PENDING})
    is_heard(tier)


def test_a_project_with_a_cluster_may_have_its_tokens_pushed(
    redis_cluster: RedisCluster, settings: Any
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "own": {**CACHES["django"], "LOCATION": redis_cluster.url},
    }
    settings.LAYERCACHE = {"CACHE": "own", "NEAR": {"freshness": "pushed"}}
    store = get_engine().store
    assert isinstance(store, NearStore)
    assert isinstance(store._known, PushedTokens)
