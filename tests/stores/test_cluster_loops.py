"""A Redis Cluster on event loops: no threads, one wire to each server, and what moves or dies is followed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import Entry
from django_layercache.stores.cluster import ClusterStore
from tests.redis_services import RedisCluster
from tests.stores import test_cluster
from tests.stores.outages import until_back
from tests.stores.test_cluster import key_on
from tests.stores.test_loops import forbid_threads
from tests.stores.test_wires import connections

MANY = 50

store, mortal = test_cluster.store, test_cluster.mortal


def on_a_loop(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))


async def keep(store: ClusterStore, key: str) -> None:
    states = (await store.aread(None, ["a"])).states
    await store.awrite(key, Entry(dict(states), key.encode()), 60)


async def is_hit(store: ClusterStore, key: str) -> bool:
    reading = await store.aread(key, ())
    entry = reading.entry
    return entry is not None and entry.payload == key.encode() and entry.tokens == reading.states


def test_nothing_leaves_the_loops_thread_once_there_is_a_wire_to_each_server(
    store: ClusterStore, redis_cluster: RedisCluster
) -> None:
    keys = [key_on(store, redis_cluster, number) for number in range(3)]

    async def story() -> None:
        await store.aread_many([(key, ()) for key in keys])
        forbid_threads()
        for key in keys:
            await keep(store, key)
            assert await is_hit(store, key)
        readings = await store.aread_many([(key, ["b"]) for key in [*keys, "none"]])
        assert [reading.entry is not None for reading in readings] == [True, True, True, False]

    on_a_loop(story())


def test_many_tasks_share_a_wire_to_each_server_and_each_gets_its_own(
    store: ClusterStore, redis_cluster: RedisCluster
) -> None:
    before = [len(connections(node)) for node in redis_cluster.primaries]

    async def one(key: str) -> None:
        await keep(store, key)
        for _ in range(3):
            assert await is_hit(store, key)

    async def story() -> None:
        await asyncio.gather(*(one(f"k{number}") for number in range(MANY)))
        now = [len(connections(node)) for node in redis_cluster.primaries]
        ours = [n - b for n, b in zip(now, before, strict=True)]
        assert max(ours) <= 2  # ours, and one of redis-py's to the server that it has asked
        store.close()

    on_a_loop(story())


def test_what_is_on_several_servers_is_fetched_at_once(
    store: ClusterStore, redis_cluster: RedisCluster
) -> None:
    keys = [key_on(store, redis_cluster, number) for number in (0, 1)]
    errands = []

    async def story() -> None:
        for key in keys:
            await keep(store, key)
        wires = [node.lines for node in store._nodes._wires.values()]
        for lines in wires:
            exchange = lines.exchange

            async def counted(*args: Any, exchange: Any = exchange) -> Any:
                errands.append("asked")
                try:
                    return await exchange(*args)
                finally:
                    errands.append("answered")

            lines.exchange = counted  # type: ignore[method-assign]
        await store.aread_many([(key, ()) for key in keys])

    on_a_loop(story())
    assert errands[:2] == ["asked", "asked"]


def test_slots_that_move_are_followed_by_all_tasks(
    store: ClusterStore, redis_cluster: RedisCluster
) -> None:
    async def story() -> None:
        await keep(store, "k")
        with redis_cluster.moving(store._entry_key("k")) as move:
            move(store._entry_key("k"))
            assert await is_hit(store, "k")  # it is asked where to ask
        asked = store._nodes._asked
        hits = await asyncio.gather(*(is_hit(store, "k") for _ in range(MANY)))
        assert all(hits)
        await asyncio.gather(*(keep(store, "k") for _ in range(MANY)))
        assert await is_hit(store, "k")
        assert store._nodes._asked == asked + 1  # not each of them

    on_a_loop(story())


def test_a_server_that_dies_is_followed_and_nothing_old_is_trusted(
    mortal: ClusterStore, fresh_cluster: RedisCluster
) -> None:
    """It has the tags, and entries."""
    lost, key = (key_on(mortal, fresh_cluster, number) for number in (0, 1))

    async def story() -> None:
        await keep(mortal, key)
        fresh_cluster.primaries[0].kill()
        await mortal.awrite(lost, Entry({}, b"x"), None)
        failures = await asyncio.gather(
            *(mortal.aread_many([(lost, ()), (key, ["a"])]) for _ in range(MANY)),
            return_exceptions=True,
        )
        assert {type(failure) for failure in failures} == {StoreUnavailable}
        await asyncio.to_thread(until_back, mortal, 20)
        assert not await is_hit(mortal, key)
        await keep(mortal, key)
        assert await is_hit(mortal, key)

    on_a_loop(story())
