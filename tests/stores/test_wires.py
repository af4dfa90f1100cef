"""The hot path's connections, on real servers and with everything that `CACHES` can say about one."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.credentials import UsernamePasswordCredentialProvider

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores import resp
from django_layercache.stores.base import Entry
from django_layercache.stores.redis import RedisStore
from tests.certificates import Certificate
from tests.services import RedisServer


def works(store: RedisStore) -> None:
    """Everything but the time passes over the wire."""
    state = store.read(None, ["a"]).states["a"]
    assert state is not None
    store.write("k", Entry({"a": state}, b"x" * 100_000), 60)
    reading = store.read("k", ["a"])
    assert reading.entry is not None
    assert reading.entry.payload == b"x" * 100_000
    store.mark("w", ["a"], 30)
    assert store.read("k", ["a"]).states["a"] is None
    store.release("w", ["a"])
    assert store.read("k", ["a"]).states["a"] not in {None, state}


Make = Callable[..., RedisStore]


@pytest.fixture
def make(fresh_redis: RedisServer) -> Iterator[Make]:
    """Makes a store from the options that `CACHES` would give, closed at the end."""
    made = []

    def make(**options: Any) -> RedisStore:
        if "path" not in options:
            options = {"host": fresh_redis.host, "port": fresh_redis.port, **options}
        pool = redis.ConnectionPool(**options)
        made.append(RedisStore(pool, grace=0.0))
        return made[-1]

    yield make
    for store in made:
        store.close()


def connections(server: RedisServer) -> list[dict[str, str]]:
    """What the server knows of those who are connected, but for the one who asks."""
    with redis.Redis(host=server.host, port=server.port) as admin:
        mine = str(admin.client_id())
        return [client for client in admin.client_list() if client["id"] != mine]


@pytest.mark.parametrize("protocol", (2, 3))
@pytest.mark.parametrize("reader", ("hiredis", "plain"))
def test_a_wire_speaks_both_protocols_with_either_reader(
    protocol: int, reader: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reader == "plain":
        monkeypatch.setattr(resp, "hiredis", None)
        monkeypatch.setattr(resp, "_pack", resp.plain_pack)
    works(make(protocol=protocol))


def test_a_wire_goes_to_the_database_that_the_project_names(
    make: Make, fresh_redis: RedisServer
) -> None:
    works(make(db=7))
    with redis.Redis(host=fresh_redis.host, port=fresh_redis.port) as admin:
        assert list(admin.info("keyspace")) == ["db7"]


def test_a_wire_bears_the_name_that_the_project_gives(make: Make, fresh_redis: RedisServer) -> None:
    works(make(client_name="shop"))
    assert {client["name"] for client in connections(fresh_redis)} == {"shop"}


@pytest.mark.parametrize("how", ("name and password", "provider"))
def test_a_wire_logs_in_as_the_user_that_the_project_names(
    how: str, make: Make, fresh_redis: RedisServer
) -> None:
    with redis.Redis(host=fresh_redis.host, port=fresh_redis.port) as admin:
        admin.execute_command(
            *"ACL SETUSER shop on >secret ~layercache:* +@all -@dangerous +info".split()
        )
        admin.execute_command("ACL", "SETUSER", "default", "nopass", "-@write")
    if how == "provider":
        provider = UsernamePasswordCredentialProvider("shop", "secret")
        works(make(credential_provider=provider))
    else:
        works(make(username="shop", password="secret"))
    with pytest.raises(StoreUnavailable):
        make(username="shop", password="wrong").read(None, ["a"])


class UnixServer(RedisServer):
    """One that also listens on a socket in the file system."""

    @property
    def path(self) -> str:
        return f"/tmp/layercache-{self.port}.sock"

    def command(self) -> list[str]:
        return [*super().command(), "--unixsocket", self.path]


def test_a_wire_goes_through_a_socket_in_the_file_system() -> None:
    server = UnixServer()
    server.start()
    try:
        pool = redis.ConnectionPool(
            connection_class=redis.UnixDomainSocketConnection, path=server.path, db=3
        )
        store = RedisStore(pool, grace=0.0)
        works(store)
        store.close()
    finally:
        server.stop()


class TlsServer(RedisServer):
    """One that speaks TLS with a certificate of its own."""

    def pool(self, **options: Any) -> redis.ConnectionPool:
        return redis.ConnectionPool(
            connection_class=redis.SSLConnection, host=self.host, port=self.public_port, **options
        )


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[TlsServer]:
    server = TlsServer(certificate=Certificate(tmp_path))
    server.start()
    yield server
    server.stop()


def test_a_wire_speaks_tls_and_trusts_whom_the_project_trusts(tls_server: TlsServer) -> None:
    store = RedisStore(tls_server.pool(ssl_ca_certs=str(tls_server.certificate.path)), grace=0.0)
    works(store)
    store.close()
    with pytest.raises(StoreUnavailable):
        RedisStore(tls_server.pool()).read(None, ["a"])


def test_a_wire_that_the_server_closed_is_replaced_and_the_visitor_does_not_notice(
    make: Make, fresh_redis: RedisServer
) -> None:
    store = make()
    before = store.read(None, ["a"]).states
    with redis.Redis(host=fresh_redis.host, port=fresh_redis.port) as admin:
        for _ in range(3):
            admin.client_kill_filter(_type="normal", skipme=True)
            assert store.read(None, ["a"]).states == before


def test_a_wire_is_kept_for_whoever_comes_next(make: Make, fresh_redis: RedisServer) -> None:
    store = make()
    for _ in range(3):
        works(store)
        thread = threading.Thread(target=works, args=[store])
        thread.start()
        thread.join()
    assert len(connections(fresh_redis)) == 1


def test_a_closed_store_has_no_wire_and_makes_one_again(
    make: Make, fresh_redis: RedisServer
) -> None:
    store = make()
    works(store)
    store.close()
    assert not connections(fresh_redis)
    works(store)


def test_a_child_process_has_wires_of_its_own(make: Make, fresh_redis: RedisServer) -> None:
    store = make()
    before = store.read(None, ["a"]).states["a"]
    (parents,) = {client["id"] for client in connections(fresh_redis)}
    child = os.fork()
    if not child:
        try:
            same = store.read(None, ["a"]).states["a"] == before
            ids = {client["id"] for client in connections(fresh_redis)}
            os._exit(0 if same and len(ids) == 2 else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert store.read(None, ["a"]).states["a"] == before
    assert {client["id"] for client in connections(fresh_redis)} == {parents}
