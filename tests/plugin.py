"""The servers as pytest fixtures; a test asks for one by naming it.

A server that is not installed skips the tests that need it, with the reason in pytest's summary. Where `CI` is set
it is an error instead: there, a skipped test is a test that nobody ran.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from django.conf import settings

from tests.proxies import Proxy
from tests.redis_services import ClusterNode, RedisCluster, SentinelServer
from tests.services import (
    MemcachedServer,
    PostgresReplica,
    PostgresServer,
    RedisServer,
    Server,
    VarnishServer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SERVERS = pytest.StashKey[dict[str, Server]]()
_SHARED: tuple[type[Server], ...] = (RedisServer, MemcachedServer, PostgresServer)


def in_ci() -> bool:
    """Return whether the run is one where nothing may be skipped."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def require(server: type[Server]) -> None:
    """Skip the running test if the server is not installed; in CI, fail it."""
    if server.program():
        return
    reason = f"{server.name} is not installed (Debian: apt-get install {server.package})"
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# ------------------------------------------------------------------------------------------- the shared servers
def pytest_configure(config: pytest.Config) -> None:
    """Make one server of each kind, on the ports that the settings name. They start when first asked for."""
    places = settings.PLACES
    config.stash[_SERVERS] = {kind.name: kind(int(places[kind.name])) for kind in _SHARED}


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers."""
    for server in config.stash.get(_SERVERS, {}).values():
        server.stop()


def pytest_report_header(config: pytest.Config) -> str:
    """Say first thing which servers the tests will find."""
    found = [
        f"{kind.name}: {kind.program() or 'not installed'}" for kind in (*_SHARED, VarnishServer)
    ]
    return "servers: " + ", ".join(found)


def _shared(config: pytest.Config, kind: type[Server]) -> Server:
    require(kind)
    server = config.stash[_SERVERS][kind.name]
    server.start()
    return server


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Server:
    """The Redis server of the cache aliases `redis` and `django_redis`. Leave it running, and as you found it."""
    return _shared(pytestconfig, RedisServer)


@pytest.fixture(scope="session")
def memcached_server(pytestconfig: pytest.Config) -> Server:
    """The memcached server of the cache alias `memcached`."""
    return _shared(pytestconfig, MemcachedServer)


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Server:
    """The PostgreSQL cluster of the database alias `postgres`."""
    return _shared(pytestconfig, PostgresServer)


@pytest.fixture(scope="session")
def postgres_replica(postgres_server: PostgresServer) -> Iterator[PostgresReplica]:
    """A streaming replica of the PostgreSQL cluster. Leave it replaying."""
    server = PostgresReplica(postgres_server)
    server.start()
    yield server
    server.stop()


# ------------------------------------------------------------------------------------------- servers of one's own
@pytest.fixture
def fresh_redis() -> Iterator[RedisServer]:
    """A Redis server of this test's own: pause it, kill it, start it again."""
    require(RedisServer)
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """A Redis Cluster of three. Leave it running, and as you found it."""
    yield from _cluster()


@pytest.fixture
def fresh_cluster() -> Iterator[RedisCluster]:
    """A Redis Cluster of this test's own, with a replica of its first primary."""
    yield from _cluster(replicas=1)


def _cluster(**options: int) -> Iterator[RedisCluster]:
    require(ClusterNode)
    cluster = RedisCluster(**options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def proxy(fresh_redis: RedisServer) -> Iterator[Proxy]:
    """A network between the test and that server, which can be cut."""
    made = Proxy(fresh_redis)
    yield made
    made.close()


@pytest.fixture
def replicated() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A Redis server of this test's own, and a replica of it that has all that it has."""
    require(RedisServer)
    primary, replica = RedisServer(), RedisServer()
    try:
        primary.start()
        replica.start()
        replica.follow(primary)
        yield primary, replica
    finally:
        primary.stop()
        replica.stop()


@pytest.fixture
def way(replicated: tuple[RedisServer, RedisServer]) -> Iterator[Proxy]:
    """The network through which the Sentinel, and whoever asks it, reach the primary of those two."""
    made = Proxy(replicated[0])
    yield made
    made.close()


@pytest.fixture
def sentinel(way: Proxy) -> Iterator[SentinelServer]:
    """A Sentinel that looks after those two, and knows both."""
    server = SentinelServer(way)
    try:
        server.start()
        server.wait_for_replica()
        yield server
    finally:
        server.stop()


@pytest.fixture
def varnish() -> Iterator[Callable[[int], VarnishServer]]:
    """A function that puts a Varnish in front of the HTTP server on the port that it is given."""
    require(VarnishServer)
    started: list[VarnishServer] = []

    def start(backend_port: int) -> VarnishServer:
        server = VarnishServer(backend_port=backend_port)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


# ------------------------------------------------------------------------------------------- databases
@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, request: pytest.FixtureRequest
) -> None:
    """Have PostgreSQL running before pytest-django makes the test databases, if a test wants one there."""
    if any(_wants_postgres(item) for item in request.session.items):
        request.getfixturevalue("postgres_server")


def _wants_postgres(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    test_case = getattr(item, "cls", None)
    named = marker.kwargs.get("databases") if marker else getattr(test_case, "databases", None)
    if named == "__all__":
        return "postgres" in settings.DATABASES
    return "postgres" in (named or ())


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what wants PostgreSQL where there is none."""
    if _wants_postgres(item):
        require(PostgresServer)
