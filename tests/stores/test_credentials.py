"""Servers that want TLS, and know nobody without a name and a password, behind Sentinels and in clusters."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.cache import caches
from django_redis.pool import ConnectionFactory

from django_layercache.checks import check_settings
from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import make_store
from django_layercache.stores.base import Entry
from tests.certificates import Certificate
from tests.plugin import require
from tests.proxies import Proxy
from tests.redis_services import ClusterNode, RedisCluster, SentinelServer
from tests.services import RedisServer, wait_for
from tests.stores.outages import OPERATIONS, until_back

LEASE = 30.0
Store = Any
Options = dict[str, Any]
NOTHING: Options = {}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


def close(server: RedisServer) -> None:
    """Let nobody in but the user `shop`; whom a test asks through is nobody, and may look and order."""
    rights = "~layercache:* ~:1:* +@all -@dangerous +info"
    if isinstance(server, SentinelServer):
        rights = "+sentinel|masters"
    server.ask(*f"ACL SETUSER shop on >secret {rights}".split())
    server.ask(*"ACL SETUSER default -@write -sentinel|masters -cluster|slots".split())


def works(store: Store) -> None:
    state = store.read(None, ["a"]).states["a"]
    store.write("k", Entry({"a": state}, b"x"), 60)
    assert store.read("k", ["a"]).entry is not None
    store.mark("w", ["a"], LEASE)
    assert store.read("k", ["a"]).states["a"] is None
    store.release("w", ["a"])
    assert store.read("k", ["a"]).states["a"] not in {None, state}
    assert asyncio.run(store.aread("k", ["a"])).entry is not None


def store_of(named: dict[str, Any], settings: Any) -> Store:
    settings.CACHES = {**settings.CACHES, secrets.token_hex(4): named}
    alias = list(settings.CACHES)[-1]
    settings.LAYERCACHE = {"CACHE": alias, "NAMESPACE": alias}
    caches[alias].set("k", "v")
    return make_store(longest_grace=0)


def is_away(named: dict[str, Any], settings: Any) -> None:
    """Nobody is let in, and no request fails for it."""
    settings.CACHES = {**settings.CACHES, "refused": named}
    settings.LAYERCACHE = {"CACHE": "refused"}
    store = make_store(longest_grace=0)
    for operation in OPERATIONS.values():
        with suppress(StoreUnavailable):
            operation(store)
    with pytest.raises(StoreUnavailable):
        store.read(None, ["a"])
    store.close()


# -- Sentinel --------------------------------------------------------------------------------


@pytest.fixture
def closed(certificate: Certificate) -> Iterator[tuple[SentinelServer, RedisServer]]:
    require(RedisServer)
    primary, replica = (RedisServer(certificate=certificate) for _ in range(2))
    way = Proxy(primary)
    sentinel = SentinelServer(way, certificate)
    try:
        primary.start()
        replica.start()
        replica.follow(primary)
        sentinel.start()
        sentinel.wait_for_replica()
        for server in (primary, replica, sentinel):
            close(server)
        yield sentinel, primary
    finally:
        sentinel.stop()
        way.close()
        primary.stop()
        replica.stop()


def behind(
    sentinel: SentinelServer, of_sentinel: Options = NOTHING, of_primary: Options = NOTHING
) -> dict[str, Any]:
    secured = {
        "ssl": True,
        "ssl_ca_certs": str(sentinel.certificate.path),
        "username": "shop",
        "password": "secret",
    }
    return {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://{sentinel.service}/0",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "SENTINELS": [(sentinel.host, sentinel.public_port)],
            "SENTINEL_KWARGS": secured | of_sentinel,
            "CONNECTION_POOL_KWARGS": secured | of_primary,
        },
    }


def test_a_primary_and_its_sentinels_are_reached_as_the_project_says(
    closed: tuple[SentinelServer, RedisServer], settings: Any
) -> None:
    sentinel, primary = closed
    store = store_of(behind(sentinel), settings)
    works(store)
    primary.kill()
    wait_for(lambda: sentinel.primary_port != sentinel.way.port)
    until_back(store, within=20)
    works(store)
    store.close()


def test_a_primary_or_a_sentinel_that_refuses_is_away(
    closed: tuple[SentinelServer, RedisServer], settings: Any
) -> None:
    sentinel, _ = closed
    for wrong in ({"password": "wrong"}, {"ssl_ca_certs": None}):
        is_away(behind(sentinel, of_sentinel=wrong), settings)
        _forget_pools()
        is_away(behind(sentinel, of_primary=wrong), settings)
        _forget_pools()


def test_a_scheme_that_the_sentinels_connections_do_not_have_is_an_error(
    closed: tuple[SentinelServer, RedisServer], settings: Any
) -> None:
    named = behind(closed[0])
    named["LOCATION"] = named["LOCATION"].replace("redis:", "rediss:")
    settings.CACHES = {**settings.CACHES, "own": named}
    settings.LAYERCACHE = {"CACHE": "own"}
    (error,) = check_settings()
    assert error.id == "layercache.E009"
    assert "'ssl': True" in error.msg


def _forget_pools() -> None:
    """django-redis keeps them by the address alone."""
    ConnectionFactory._pools.clear()


# -- a cluster -------------------------------------------------------------------------------


@pytest.fixture
def closed_cluster(certificate: Certificate) -> Iterator[RedisCluster]:
    require(ClusterNode)
    cluster = RedisCluster(certificate=certificate)
    try:
        cluster.start()
        for node in cluster.nodes:
            close(node)
        yield cluster
    finally:
        cluster.stop()


def test_all_servers_of_a_cluster_are_reached_as_the_project_says(
    closed_cluster: RedisCluster, certificate: Certificate, settings: Any
) -> None:
    options = {"username": "shop", "password": "secret", "ssl_ca_certs": str(certificate.path)}
    named = {
        "BACKEND": "tests.stores.clustered.ClusterCache",
        "LOCATION": closed_cluster.url,
        "OPTIONS": options,
    }
    is_away({**named, "OPTIONS": {**options, "password": "wrong"}}, settings)
    is_away({**named, "OPTIONS": {**options, "ssl_ca_certs": None}}, settings)
    store = store_of(named, settings)
    works(store)
    for number in range(30):
        store.write(f"k{number}", Entry({}, b"x"), None)
        assert store.read(f"k{number}", ()).entry is not None
    assert check_settings() == []
    store.close()
