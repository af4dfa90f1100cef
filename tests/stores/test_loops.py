"""Reading and writing on event loops: no threads, one connection for each loop, and nobody gets another's reply."""

import asyncio
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import Entry
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.memcached_commands import pipeline
from django_layercache.stores.memcached_wire import Server
from django_layercache.stores.redis import RedisStore
from tests.certificates import Certificate
from tests.plugin import require
from tests.services import MemcachedServer, RedisServer, wait_for
from tests.stores.test_wires import TlsServer, connections, tls_server

__all__ = ["tls_server"]

MANY = 50
AsyncStore = RedisStore | MemcachedStore


class OnRedis:
    """A Redis server of the test's own, and stores on it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def store(self, timeout: float = 0.5) -> AsyncStore:
        pool = redis.ConnectionPool(
            host=self.server.host, port=self.server.port, socket_timeout=timeout
        )
        return RedisStore(pool, grace=0.0)

    def connected(self) -> int:
        """How many connections stores have."""
        return len(connections(self.server))

    def cut_all(self) -> None:
        """Close them."""
        with redis.Redis(host=self.server.host, port=self.server.port) as admin:
            admin.client_kill_filter(_type="normal", skipme=True)


class OnMemcached:
    """The same with memcached."""

    def __init__(self, server: MemcachedServer) -> None:
        self.server = server

    def store(self, timeout: float = 0.5) -> AsyncStore:
        server = Server((self.server.host, self.server.port), timeout=timeout)
        return MemcachedStore([server], grace=0.0)

    def connected(self) -> int:
        with socket.create_connection((self.server.host, self.server.port)) as admin:
            admin.sendall(b"stats conns\r\n")
            lines = b""
            while not lines.endswith(b"END\r\n"):
                lines += admin.recv(65536)
        states = re.findall(rb":state conn_(\w+)", lines)
        return len([state for state in states if state != b"listening"]) - 1

    def cut_all(self) -> None:
        self.server.kill()
        self.server.start()


Place = OnRedis | OnMemcached


@pytest.fixture(params=("redis", "memcached"))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "redis":
        yield OnRedis(request.getfixturevalue("fresh_redis"))
        return
    require(MemcachedServer)
    server = MemcachedServer()
    server.start()
    yield OnMemcached(server)
    server.kill()
    server.stop()


@pytest.fixture
def store(place: Place) -> Iterator[AsyncStore]:
    made = place.store()
    yield made
    made.close()


class NoThreads(ThreadPoolExecutor):
    """What everything that is to run in a thread falls into."""

    def submit(self, *args: object, **options: object) -> NoReturn:
        raise AssertionError("left the event loop's thread")


def forbid_threads() -> None:
    """From here on, nothing may leave the event loop's thread."""
    asyncio.get_running_loop().set_default_executor(NoThreads())


async def works(store: AsyncStore) -> None:
    state = (await store.aread(None, ["a"])).states["a"]
    assert state is not None
    payload = b"x" * 3_000_000  # more than goes out or comes in at once
    await store.awrite("k", Entry({"a": state}, payload), 60)
    reading = await store.aread("k", ["a"])
    assert reading.entry == Entry({"a": state}, payload)
    several = await store.aread_many([("k", ["a"]), ("none", ["a", "b"])])
    assert [one.entry is None for one in several] == [False, True]


def test_nothing_leaves_the_loops_thread_once_there_is_a_wire(
    store: AsyncStore,
) -> None:
    async def story() -> None:
        await store.aread(None, ())
        forbid_threads()
        await works(store)

    asyncio.run(story())


def test_many_tasks_share_one_wire_and_each_gets_its_own(store: AsyncStore, place: Place) -> None:
    async def one(number: int) -> None:
        payload = b"%d" % number * 1000
        state = (await store.aread(None, ["a"])).states["a"]
        assert state is not None
        await store.awrite(f"k{number}", Entry({"a": state}, payload), 60)
        for _ in range(3):
            reading = await store.aread(f"k{number}", ["a"])
            assert reading.entry is not None
            assert reading.entry.payload == payload

    async def story() -> None:
        await asyncio.gather(*map(one, range(MANY)))
        wait_for(lambda: place.connected() == 1)

    asyncio.run(story())


def test_the_next_loop_takes_the_wire_of_the_one_before(store: AsyncStore, place: Place) -> None:
    for _ in range(3):
        asyncio.run(works(store))
    wait_for(lambda: place.connected() == 1)


def test_loops_at_the_same_time_have_a_wire_each(store: AsyncStore, place: Place) -> None:
    async def inner() -> None:
        await works(store)

    async def outer() -> None:
        await works(store)
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, inner()) for _ in range(2)))
        await works(store)

    asyncio.run(outer())
    assert 2 <= place.connected() <= 3
    asyncio.run(works(store))


def test_tls_is_spoken_on_a_loop(tls_server: TlsServer) -> None:
    store = RedisStore(tls_server.pool(ssl_ca_certs=str(tls_server.certificate.path)), grace=0.0)
    asyncio.run(works(store))
    store.close()


class TlsMemcached(MemcachedServer):
    """One that speaks TLS with a certificate of its own."""

    def __init__(self, certificate: Certificate) -> None:
        super().__init__()
        self.certificate = certificate

    def command(self) -> list[str]:
        files = f"ssl_chain_cert={self.certificate.path},ssl_key={self.certificate.key}"
        return [*super().command(), "-Z", "-o", files]


def test_memcached_is_spoken_to_by_tls(tmp_path: Path) -> None:
    require(MemcachedServer)
    server = TlsMemcached(Certificate(tmp_path))
    server.start()
    trusted = ssl.create_default_context(cafile=str(server.certificate.path))
    store = MemcachedStore([Server((server.host, server.port), tls=trusted)], grace=0.0)
    asyncio.run(works(store))
    reading = store.read("k", ["a"])
    assert reading.entry is not None
    store.write("k", reading.entry, 60)  # larger than an item, in a thread
    assert store.read("k", ["a"]).entry == reading.entry
    store.close()
    distrustful = Server((server.host, server.port), tls=ssl.create_default_context())
    with pytest.raises(StoreUnavailable):
        distrustful.run(lambda identity: pipeline(()))
    server.kill()
    server.stop()


def test_a_loop_that_was_busy_does_not_take_its_own_delay_for_the_servers(place: Place) -> None:
    store = place.store(timeout=0.3)

    async def story() -> None:
        await works(store)  # what is fetched now comes in many parts
        task = asyncio.create_task(store.aread("k", ["a"]))
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251
        assert (await task).entry is not None

    asyncio.run(story())
    store.close()


def test_a_cancelled_task_leaves_nobody_its_reply(store: AsyncStore, place: Place) -> None:
    async def story() -> None:
        states = (await store.aread(None, ["a", "b"])).states
        for key, payload in (("k", b"mine"), ("l", b"yours")):
            await store.awrite(key, Entry(dict(states), payload), 60)
        with place.server.paused():
            mine = asyncio.create_task(store.aread("k", ["a"]))
            yours = asyncio.create_task(store.aread("l", ["a"]))
            await asyncio.sleep(0.01)  # both are on their way
            mine.cancel()
        reading = await yours
        assert reading.entry is not None
        assert reading.entry.payload == b"yours"
        assert mine.cancelled()

    asyncio.run(story())
    asyncio.run(works(store))


def test_a_task_that_is_cancelled_while_it_connects_leaves_the_store_usable(
    store: AsyncStore,
) -> None:
    async def story() -> None:
        task = asyncio.create_task(store.aread("k", ["a"]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await works(store)

    asyncio.run(story())


def test_a_line_that_the_server_closed_is_replaced_and_nobody_notices(
    store: AsyncStore, place: Place
) -> None:
    async def story() -> None:
        await works(store)
        for wait in (0, 0.01):  # the loop has not seen it yet; it has
            place.cut_all()
            await asyncio.sleep(wait)
            await works(store)

    asyncio.run(story())


@pytest.mark.parametrize("operation", ("aread", "aread_many", "awrite"))
def test_while_a_server_does_not_answer_the_loop_goes_on(
    operation: str, store: AsyncStore, place: Place
) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "aread": ("k", ["a"]),
        "aread_many": ([("k", ["a"]), ("l", ["b"])],),
        "awrite": ("k", Entry({}, b"x"), 60),
    }

    async def story() -> None:
        await works(store)
        forbid_threads()
        with place.server.paused():
            task = asyncio.create_task(getattr(store, operation)(*arguments[operation]))
            for _ in range(MANY):
                await asyncio.sleep(0)
            assert not task.done(), "it was waited for, and nobody else came by"
        await task

    asyncio.run(story())


@pytest.mark.parametrize("how", ("paused", "killed"))
def test_a_server_that_is_away_costs_a_bounded_wait_and_then_none(
    how: str, store: AsyncStore, place: Place
) -> None:
    async def story() -> None:
        await store.aread(None, ["a"])
        place.server.pause() if how == "paused" else place.server.kill()
        reads = (store.aread(None, ["a"]) for _ in range(MANY))
        failures = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), 5)
        assert {type(failure) for failure in failures} == {StoreUnavailable}
        with pytest.raises(StoreUnavailable, match="a moment ago"):
            await store.aread(None, ["a"])
        place.server.resume() if how == "paused" else place.server.start()
        await until_back(store)

    asyncio.run(story())


async def until_back(store: AsyncStore) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            await works(store)
            return
        except StoreUnavailable:
            assert time.monotonic() < end, "the store never came back"
            await asyncio.sleep(0.02)


def test_a_closed_store_leaves_no_connection_and_works_again(
    store: AsyncStore, place: Place
) -> None:
    async def story() -> None:
        await works(store)
        store.close()
        await asyncio.sleep(0.01)
        wait_for(lambda: not place.connected())
        await works(store)

    asyncio.run(story())
    store.close()
    wait_for(lambda: not place.connected())


@pytest.mark.parametrize("where", ("between two loops", "in a coroutine"))
def test_a_child_process_has_loops_and_connections_of_its_own(
    where: str, store: AsyncStore, place: Place
) -> None:
    def fork() -> None:
        child = os.fork()
        if not child:
            try:
                signal.alarm(10)
                asyncio.run(works(store))
                os._exit(0 if place.connected() == 2 else 3)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0

    async def story() -> None:
        await works(store)
        if where == "in a coroutine":
            fork()
        await works(store)

    asyncio.run(story())
    if where == "between two loops":
        fork()
    asyncio.run(works(store))
    wait_for(lambda: place.connected() == 1)


class Unwatchful(asyncio.SelectorEventLoop):
    """A loop that cannot watch sockets, as that of Windows."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        if not isinstance(fd, int):  # its own
            raise NotImplementedError
        super().add_reader(fd, callback, *args)


def run_unwatchfully(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Unwatchful) as runner:
        runner.run(story)


def test_a_loop_that_cannot_watch_sockets_exchanges_in_threads(store: AsyncStore) -> None:
    async def story() -> None:
        await works(store)
        await works(store)

    run_unwatchfully(story())
