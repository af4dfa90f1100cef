"""Reading and writing on event loops: no threads, one wire for each loop, and nobody gets another's reply."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import Entry
from django_layercache.stores.redis import RedisStore
from tests.services import RedisServer
from tests.stores.test_wires import Make, TlsServer, connections, make, tls_server

__all__ = ["make", "tls_server"]

MANY = 50


@pytest.fixture
def store(make: Make) -> RedisStore:
    return make()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, nothing may leave the event loop's thread."""

    async def refused(*args: object) -> None:
        raise AssertionError("left the event loop's thread")

    return lambda: monkeypatch.setattr(asyncio, "to_thread", refused)


async def works(store: RedisStore) -> None:
    state = (await store.aread(None, ["a"])).states["a"]
    assert state is not None
    payload = b"x" * 3_000_000  # more than goes out or comes in at once
    await store.awrite("k", Entry({"a": state}, payload), 60)
    reading = await store.aread("k", ["a"])
    assert reading.entry == Entry({"a": state}, payload)
    several = await store.aread_many([("k", ["a"]), ("none", ["a", "b"])])
    assert [one.entry is None for one in several] == [False, True]


def test_nothing_leaves_the_loops_thread_once_there_is_a_wire(
    store: RedisStore, no_threads: Callable[[], None]
) -> None:
    async def story() -> None:
        await store.aread(None, ())
        no_threads()
        await works(store)

    asyncio.run(story())


def test_many_tasks_share_one_wire_and_each_gets_its_own(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
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
        assert len(connections(fresh_redis)) == 1

    asyncio.run(story())


def test_the_next_loop_takes_the_wire_of_the_one_before(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    for _ in range(3):
        asyncio.run(works(store))
    assert len(connections(fresh_redis)) == 1


def test_loops_at_the_same_time_have_a_wire_each(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    async def inner() -> None:
        await works(store)

    async def outer() -> None:
        await works(store)
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, inner()) for _ in range(2)))
        await works(store)

    asyncio.run(outer())
    assert 2 <= len(connections(fresh_redis)) <= 3
    asyncio.run(works(store))


def test_tls_is_spoken_on_a_loop(tls_server: TlsServer) -> None:
    store = RedisStore(tls_server.pool(ssl_ca_certs=str(tls_server.certificate.path)), grace=0.0)
    asyncio.run(works(store))
    store.close()


def test_a_loop_that_was_busy_does_not_take_its_own_delay_for_the_servers(make: Make) -> None:
    store = make(socket_timeout=0.1)

    async def story() -> None:
        await works(store)  # what is fetched now comes in many parts
        task = asyncio.create_task(store.aread("k", ["a"]))
        await asyncio.sleep(0)
        time.sleep(0.15)  # noqa: ASYNC251
        assert (await task).entry is not None

    asyncio.run(story())


def test_a_cancelled_task_leaves_nobody_its_reply(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    async def story() -> None:
        states = (await store.aread(None, ["a", "b"])).states
        for key, payload in (("k", b"mine"), ("l", b"yours")):
            await store.awrite(key, Entry(dict(states), payload), 60)
        with fresh_redis.paused():
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
    store: RedisStore,
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
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    async def story() -> None:
        before = (await store.aread(None, ["a"])).states
        with redis.Redis(host=fresh_redis.host, port=fresh_redis.port) as admin:
            for wait in (0, 0.01):  # the loop has not seen it yet; it has
                admin.client_kill_filter(_type="normal", skipme=True)
                await asyncio.sleep(wait)
                assert (await store.aread(None, ["a"])).states == before

    asyncio.run(story())


@pytest.mark.parametrize("how", ("paused", "killed"))
def test_a_server_that_is_away_costs_a_bounded_wait_and_then_none(
    how: str, store: RedisStore, fresh_redis: RedisServer
) -> None:
    async def story() -> None:
        await store.aread(None, ["a"])
        fresh_redis.pause() if how == "paused" else fresh_redis.kill()
        reads = (store.aread(None, ["a"]) for _ in range(MANY))
        failures = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), 5)
        assert {type(failure) for failure in failures} == {StoreUnavailable}
        with pytest.raises(StoreUnavailable, match="a moment ago"):
            await store.aread(None, ["a"])
        fresh_redis.resume() if how == "paused" else fresh_redis.start()
        await until_back(store)

    asyncio.run(story())


async def until_back(store: RedisStore) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            await works(store)
            return
        except StoreUnavailable:
            assert time.monotonic() < end, "the store never came back"
            await asyncio.sleep(0.02)


def test_a_closed_store_leaves_no_connection_and_works_again(
    store: RedisStore, fresh_redis: RedisServer
) -> None:
    async def story() -> None:
        await works(store)
        store.close()
        await asyncio.sleep(0.01)
        assert not connections(fresh_redis)
        await works(store)

    asyncio.run(story())
    store.close()
    assert not connections(fresh_redis)


class Unwatchful(asyncio.SelectorEventLoop):
    """A loop that cannot watch sockets, as that of Windows."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        if not isinstance(fd, int):  # its own
            raise NotImplementedError
        super().add_reader(fd, callback, *args)


def run_unwatchfully(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Unwatchful) as runner:
        runner.run(story)


def test_a_loop_that_cannot_watch_sockets_exchanges_in_threads(store: RedisStore) -> None:
    async def story() -> None:
        await works(store)
        await works(store)

    run_unwatchfully(story())


@pytest.fixture(autouse=True)
def _closed(store: RedisStore) -> Iterator[None]:
    yield
    store.close()
