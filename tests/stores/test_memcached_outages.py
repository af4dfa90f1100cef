"""memcached servers that are away, slow, full, flushed or restarted, one of a pool or the only one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import PENDING, Entry
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.memcached_commands import Command, Delete, Get, Set, pipeline
from django_layercache.stores.memcached_wire import CONNECT_TIMEOUT, RESPONSE_TIMEOUT, Server
from tests.plugin import require
from tests.services import MemcachedServer
from tests.stores.outages import LEASE, OPERATIONS, token_of, until_back

#: What a visitor waits at the most: one connection, one reply, and one more try of both.
PATIENCE = 2 * (CONNECT_TIMEOUT + RESPONSE_TIMEOUT) + 0.5


class SmallServer(MemcachedServer):
    """One with two megabytes, which it fills soon."""

    def command(self) -> list[str]:
        return [*super().command(), "-m", "2"]


@contextmanager
def running(*servers: MemcachedServer) -> Iterator[list[MemcachedServer]]:
    require(MemcachedServer)
    for server in servers:
        server.start()
    yield [*servers]
    for server in servers:
        server.kill()  # it has nothing to tidy up, and would take a second for it
        server.stop()


@pytest.fixture
def pool() -> Iterator[list[MemcachedServer]]:
    """Two servers of this test's own."""
    with running(MemcachedServer(), MemcachedServer()) as servers:
        yield servers


@pytest.fixture
def first() -> Iterator[MemcachedServer]:
    """One server of this test's own."""
    with running(SmallServer()) as servers:
        yield servers[0]


@pytest.fixture
def store(first: MemcachedServer) -> Iterator[MemcachedStore]:
    made = new_store(first)
    yield made
    made.close()


def new_store(*servers: MemcachedServer, grace: float = 0.0) -> MemcachedStore:
    return MemcachedStore([Server((server.host, server.port)) for server in servers], grace=grace)


def test_every_operation_says_that_a_killed_server_is_away(
    store: MemcachedStore, first: MemcachedServer
) -> None:
    for operation in OPERATIONS.values():
        operation(store)
    first.kill()
    for operation in OPERATIONS.values():
        with pytest.raises(StoreUnavailable):
            operation(store)


def test_a_paused_server_costs_a_bounded_wait_and_then_none(
    store: MemcachedStore, first: MemcachedServer
) -> None:
    before = token_of(store, "a")
    with first.paused():
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.read(None, ["a"])
        assert time.monotonic() - started < PATIENCE
        with pytest.raises(StoreUnavailable, match="a moment ago"):
            store.read(None, ["a"])
    until_back(store)
    assert token_of(store, "a") == before


def test_a_pooled_connection_that_the_server_closed_is_no_outage(
    store: MemcachedStore, first: MemcachedServer
) -> None:
    token_of(store, "a")
    first.kill()
    first.start()
    assert token_of(store, "a") is not PENDING


def test_a_restarted_server_begins_a_generation_and_fears_for_marks_until_the_grace_is_over(
    first: MemcachedServer,
) -> None:
    store, other = new_store(first, grace=60.0), new_store(first, grace=60.0)
    store.end_grace(store.read(None, ()).sequence)
    before = token_of(store, "a")
    store.write("k", Entry({"a": before}, b"old"), None)
    store.mark("w", ["a"], LEASE)
    first.kill()
    first.start()
    until_back(other)
    reading = other.read("k", ["a", "b"])
    assert reading.in_grace
    assert reading.entry is None
    assert set(reading.states.values()) == {PENDING}
    other.release("v", ["b"])
    store.release("w", ["a"])
    assert other.read(None, ["a", "b"]).states == {"a": PENDING, "b": PENDING}
    other.end_grace(reading.sequence)
    after = other.read(None, ["a", "b"])
    assert not after.in_grace
    assert not {PENDING, before} & set(after.states.values())
    store.close(), other.close()


def test_a_flushed_server_makes_everything_pending_for_the_grace(first: MemcachedServer) -> None:
    store = new_store(first, grace=0.5)
    token_of(store, "a")
    store.end_grace(store.read(None, ()).sequence)
    before = token_of(store, "a")
    store.mark("w", ["b"], LEASE)
    flush(store)
    assert store.read(None, ["a", "b"]).states == {"a": PENDING, "b": PENDING}
    end = time.monotonic() + 10
    while token_of(store, "a") is PENDING:
        assert time.monotonic() < end, "the grace is never over"
        time.sleep(0.05)
    assert token_of(store, "a") != before
    store.close()


def flush(store: MemcachedStore) -> None:
    connection = store._first.connect()
    connection.socket.sendall(b"flush_all\r\n")
    assert connection.socket.recv(16) == b"OK\r\n"
    connection.close()


def ask(store: MemcachedStore, *commands: Command) -> list:
    """The first server's replies."""
    return store._first.run(lambda identity: pipeline(commands))


def test_a_mark_that_was_evicted_is_found_in_the_register(store: MemcachedStore) -> None:
    keys = store._keys
    before = token_of(store, "a")
    store.mark("w", ["a"], LEASE)
    ask(store, Delete(keys.tag("a")))
    assert token_of(store, "a") is PENDING
    assert ask(store, Get((keys.tag("a"),)))[0]
    store.release("v", ["a"])
    assert token_of(store, "a") is PENDING
    store.release("w", ["a"])
    assert token_of(store, "a") not in {PENDING, before}


def test_a_server_that_is_full_of_other_things_forgets_no_mark(first: MemcachedServer) -> None:
    store = new_store(first, grace=60.0)
    store.end_grace(store.read(None, ()).sequence)
    store.mark("w", ["a"], LEASE)
    key = store._keys.tag("a")
    fill = [
        b"set f%d 0 0 %d noreply\r\n%b\r\n" % (n, n % 80, b"x" * (n % 80)) for n in range(80_000)
    ]
    connection = store._first.connect()
    connection.socket.sendall(b"".join(fill))
    assert connection.exchange([Get((key,))]) == [{}], "nothing was evicted"
    connection.close()
    assert token_of(store, "a") is PENDING
    store.close()


def test_a_register_is_tidied_up_and_keeps_the_live_marks(store: MemcachedStore) -> None:
    store.mark("w", ["a"], LEASE)
    for number in range(40):
        names = [f"{number}.{tag}" for tag in range(60)]
        store.mark("v", names, LEASE)
        store.release("v", names)
    keys, head = store._keys, store._tags._head
    items, _ = ask(store, Get((keys.register(head),)), Delete(keys.tag("a")))
    assert len(items[keys.register(head)].value) < 40_000
    assert token_of(store, "a") is PENDING


def test_a_register_that_is_full_is_tidied_up_when_it_refuses(
    pool: list[MemcachedServer],
) -> None:
    store = new_store(pool[0])
    store.mark("w", ["a"], LEASE)
    keys, head = store._keys, store._tags._head
    key = keys.register(head)
    (items,) = ask(store, Get((key,)))
    full = items[key].value + b"+v 1 0123456789abcdef\n" * 48_000
    ask(store, Set(key, full[:1_048_000]), Delete(keys.tag("a")))
    with pytest.raises(StoreUnavailable, match="refuses"):
        store.mark("v", [f"{number}" for number in range(100)], LEASE)
    store.mark("v", ["b"], LEASE)
    assert store.read(None, ["a", "b"]).states == {"a": PENDING, "b": PENDING}
    store.close()


@pytest.mark.parametrize("name", ("head", "register", "sequence", "tag"))
@pytest.mark.parametrize("planted", (b"", b"\xff\x00 1 1 1", b"=" + b"0" * 24, b"7"))
def test_what_somebody_plants_is_as_good_as_nothing(
    memcached_server: MemcachedServer, name: str, planted: bytes
) -> None:
    store = new_store(memcached_server)
    before = token_of(store, "a")
    store.write("k", Entry({"a": before}, b"old"), None)
    head, keys = store._tags._head, store._keys
    key = {
        "head": keys.head,
        "register": keys.register(head),
        "sequence": keys.sequence(head),
        "tag": keys.tag("a"),
    }[name]
    ask(store, Set(key, planted))
    store.mark("w", ["a"], LEASE)
    assert token_of(store, "a") is PENDING
    store.release("w", ["a"])
    assert token_of(store, "a") not in {PENDING, before}
    assert store.read("k", ()).states["a"] != before
    store.close()


# -- pools -----------------------------------------------------------------------------------


def keys_of(store: MemcachedStore, server: Server) -> str:
    """A key whose entry is on *server*."""
    return next(key for key in map(str, range(100)) if store._server_of(key) is server)


def test_a_server_that_is_away_takes_its_entries_with_it_and_nothing_else(
    pool: list[MemcachedServer],
) -> None:
    store = new_store(*pool)
    near, far = (keys_of(store, server) for server in store._servers)
    token = token_of(store, "a")
    for key in (near, far):
        store.write(key, Entry({"a": token}, b"x"), None)
    with pool[1].paused():
        readings = store.read_many([(near, ()), (far, ["a"])])
        assert [reading.entry is not None for reading in readings] == [True, False]
        assert readings[1].states == {"a": token}
        store.write(far, Entry({"a": token}, b"y"), None)
        store.mark("w", ["a"], LEASE)
        store.release("w", ["a"])
    # It is back with what it had, and that is not current.
    end = time.monotonic() + 10
    while (reading := store.read(far, ())).entry is None:
        assert time.monotonic() < end, "it is never asked again"
        time.sleep(0.02)
    assert reading.states["a"] != reading.entry.tokens["a"]
    store.close()


def test_without_its_first_server_the_store_is_away(pool: list[MemcachedServer]) -> None:
    store = new_store(*pool)
    _, far = (keys_of(store, server) for server in store._servers)
    store.write(far, Entry({"a": token_of(store, "a")}, b"x"), None)
    pool[0].kill()
    with pytest.raises(StoreUnavailable):
        store.read(far, ())
    with pytest.raises(StoreUnavailable):
        store.mark("w", ["a"], LEASE)
    store.close()


class MovesOn(MemcachedStore):
    """It takes the next server for the tags, while the first is away."""

    def _on_first(self, operation):
        try:
            return super()._on_first(operation)
        except StoreUnavailable:
            return self._servers[1].run(operation)


@pytest.mark.parametrize("kind", (MemcachedStore, MovesOn))
def test_tags_that_moved_to_another_server_would_come_back_old(
    pool: list[MemcachedServer], kind: type[MemcachedStore]
) -> None:
    store = kind([Server((server.host, server.port)) for server in pool], grace=0.0)
    _, far = (keys_of(store, server) for server in store._servers)
    store.write(far, Entry({"a": token_of(store, "a")}, b"old"), None)
    noticed = False
    with pool[0].paused():
        try:
            store.mark("w", ["a"], LEASE)
            store.release("w", ["a"])
        except StoreUnavailable:
            noticed = True  # and the writer leaves the tag in the outbox
    until_back(store)
    while store._first.breaker._retry_at is not None:
        store.read(None, ())
    reading = store.read(far, ())
    is_stale = reading.entry is not None and reading.states["a"] == reading.entry.tokens["a"]
    assert is_stale
    assert noticed == (kind is MemcachedStore)
    store.close()
