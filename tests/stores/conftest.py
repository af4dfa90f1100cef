"""Every store under the same contract."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches

from django_layercache.handlers import pool_of
from django_layercache.stores.base import Store
from django_layercache.stores.cluster import ClusterStore
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.near_pushed import PushedTokens
from django_layercache.stores.near_request import RequestTokens, token_snapshot
from django_layercache.stores.redis import RedisStore
from tests.services import MemcachedServer
from tests.stores.clocks import (
    Awaits,
    AwaitsCluster,
    AwaitsMemcached,
    AwaitsNear,
    Clock,
    ClusterClock,
    LocalClock,
    MemcachedClock,
    NearClock,
    ReadsTwice,
    RedisClock,
)
from tests.stores.near_tools import until

NEAR = (
    "near a local one",
    "near a local one, in a request",
    "near redis, awaited",
    "near redis, pushed",
    "near memcached",
    "near memcached, in a request",
)
REDIS = {"redis": RedisStore, "django_redis": ReadsTwice, "redis, awaited": Awaits}
CLUSTER = {"cluster": ClusterStore, "cluster, awaited": AwaitsCluster}
MEMCACHED = ("memcached", "memcached pool", "memcached pool, awaited")
STORES = ("local", *REDIS, *CLUSTER, *MEMCACHED, *NEAR)


@pytest.fixture(params=STORES)
def clock(request: pytest.FixtureRequest) -> Iterator[Clock]:
    """The clock of the store under test, one fixture for each store and each way to configure it."""
    if request.param == "local":
        yield LocalClock()
        return
    if request.param.startswith("memcached"):
        servers = [request.getfixturevalue("memcached_server")]
        if "pool" in request.param:
            servers.append(request.getfixturevalue("second_memcached_server"))
        kind = AwaitsMemcached if "awaited" in request.param else MemcachedStore
        yield from _memcached(*servers, store_class=kind)
        return
    if request.param in CLUSTER:
        url = request.getfixturevalue("redis_cluster").url
        made = ClusterClock(url, store_class=CLUSTER[request.param])
        yield made
        made.store.close()
        made.client.close()
        return
    if request.param in NEAR:
        yield from _near(request)
        return
    request.getfixturevalue("redis_server")
    alias, _, _ = request.param.partition(",")
    made = RedisClock(pool_of(caches[alias]), store_class=REDIS[request.param])
    yield made
    made.store.close()
    for key in made.client.keys(f"{made.prefix}*"):
        made.client.delete(key)


@pytest.fixture(scope="session")
def second_memcached_server(memcached_server: object) -> Iterator[MemcachedServer]:
    """Another one, for pools."""
    server = MemcachedServer()
    server.start()
    yield server
    server.stop()


def _near(request: pytest.FixtureRequest) -> Iterator[Clock]:
    """The near tier in front of others."""
    if request.param == "near redis, awaited":
        yield NearClock(request.getfixturevalue("redis_clock"), store_class=AwaitsNear)
    elif request.param == "near redis, pushed":
        shared = request.getfixturevalue("redis_clock")
        known = PushedTokens(shared.store, pause=0.05)
        until(lambda: known.tokens() is not None)
        yield NearClock(shared, known)
        known.close()
    else:
        shared = LocalClock()
        if "memcached" in request.param:
            shared = request.getfixturevalue("memcached_clock")
        with token_snapshot():
            yield NearClock(shared, RequestTokens() if "request" in request.param else None)


def _memcached(*servers: MemcachedServer, **options: Any) -> Iterator[MemcachedClock]:
    made = MemcachedClock(*servers, **options)
    yield made
    made.store.close()


@pytest.fixture
def memcached_clock(memcached_server: MemcachedServer) -> Iterator[MemcachedClock]:
    """A `memcached` store in a namespace of its own, with its clock."""
    yield from _memcached(memcached_server)


@pytest.fixture
def store(clock: Clock) -> Store:
    """The store under test."""
    return clock.store


@pytest.fixture
def redis_clock(redis_server: object) -> Iterator[RedisClock]:
    """A `redis` store in a namespace of its own, with its clock."""
    made = RedisClock(pool_of(caches["redis"]))
    yield made
    made.store.close()
    for key in made.client.keys(f"{made.prefix}*"):
        made.client.delete(key)
