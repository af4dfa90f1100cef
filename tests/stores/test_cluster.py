"""A Redis Cluster whose slots move, and whose servers die."""

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from redis.cluster import RedisCluster as Client

from django_layercache.checks import check_settings
from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import get_engine
from django_layercache.stores import nodes
from django_layercache.stores.base import PENDING, Entry, Token
from django_layercache.stores.cluster import ClusterStore
from django_layercache.stores.errands import NodeWires, run
from tests.engine.tools import Builder, recipe
from tests.redis_services import RedisCluster
from tests.services import wait_for
from tests.stores.outages import until_back

LEASE = 30.0


@pytest.fixture
def store(redis_cluster: RedisCluster) -> Iterator[ClusterStore]:
    yield from made(redis_cluster)


@pytest.fixture
def mortal(fresh_cluster: RedisCluster) -> Iterator[ClusterStore]:
    """A store on a cluster whose servers may be killed; its tokens are on the one that has a replica."""
    yield from made(fresh_cluster, on=0)


def made(cluster: RedisCluster, on: int | None = None) -> Iterator[ClusterStore]:
    while True:
        store = new_store(cluster, secrets.token_hex(4))
        if on is None or cluster.owner_of(store._register) is cluster.primaries[on]:
            break
    yield store
    store.close()


def new_store(cluster: RedisCluster, namespace: str) -> ClusterStore:
    return ClusterStore(lambda: Client.from_url(cluster.url), namespace=namespace, grace=0.0)


def token_of(store: ClusterStore, tag: str) -> Token | None:
    return store.read(None, [tag]).states[tag]


def is_hit(store: ClusterStore, key: str) -> bool:
    reading = store.read(key, ())
    return reading.entry is not None and reading.entry.tokens == reading.states


def keep(store: ClusterStore, key: str, *tags: str) -> Token | None:
    states = store.read(None, tags).states
    store.write(key, Entry(dict(states), key.encode()), None)
    return states[tags[0]] if tags else None


def key_on(store: ClusterStore, cluster: RedisCluster, number: int) -> str:
    """A key whose entry is on the server with that number."""
    names = (f"key{n}" for n in range(1000))
    return next(
        n for n in names if cluster.owner_of(store._entry_key(n)) is cluster.primaries[number]
    )


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands went in each exchange with a server."""
    counts: list[int] = []
    exchange = NodeWires.exchange

    def counted(self: NodeWires, commands: bytes, count: int) -> list[object]:
        counts.append(count)
        return exchange(self, commands, count)

    monkeypatch.setattr(NodeWires, "exchange", counted)
    return counts


# -- where things are ------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ("", "shop", "a}b", "{}", "{a}", "ä b"))
def test_tags_of_a_namespace_are_in_one_slot_and_entries_in_many(
    redis_cluster: RedisCluster, namespace: str
) -> None:
    store = new_store(redis_cluster, namespace)
    names = [store._register, *(f"{store._prefix}t:{tag}" for tag in ("a", "{b}", "}c{"))]
    client = run(store._nodes._topology())
    assert len({client.keyslot(name) for name in names}) == 1
    assert (
        len({client.keyslot(store._entry_key(f"k{n}")) for n in range(50)}) > 20
        or "{a" in namespace
    )
    keep(store, "k", "a", "{b}", "}c{")
    assert is_hit(store, "k")
    store.close()


def test_namespaces_never_meet(redis_cluster: RedisCluster) -> None:
    one, other = new_store(redis_cluster, "a"), new_store(redis_cluster, "a:e:b")
    keep(one, "b:e:k", "t")
    assert other.read("k", ()).entry is None
    assert one._entry_key("b:e:k") != other._entry_key("k")
    for store in (one, other):
        store.close()


def test_a_hit_is_two_exchanges_and_a_write_one(
    store: ClusterStore, exchanges: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "TENURE", 60.0)
    keep(store, "k", "a", "b")
    store.mark("w", ["a"], LEASE)  # the server learns the scripts
    store.release("w", ["a"])
    keep(store, "k", "a", "b")
    exchanges.clear()
    assert is_hit(store, "k")
    assert exchanges == [2, 4]
    exchanges.clear()
    store.mark("w", ["a", "b"], LEASE)
    store.release("w", ["a", "b"])
    store.write("k", Entry({}, b""), None)
    store.read(None, ["a"])
    assert exchanges == [1, 1, 1, 4]


def test_many_are_read_in_one_exchange_with_each_server(
    store: ClusterStore, exchanges: list[int]
) -> None:
    keys = [f"k{number}" for number in range(60)]
    for key in keys:
        keep(store, key, "a")
    exchanges.clear()
    readings = store.read_many([(key, ()) for key in keys])
    assert {reading.left for reading in readings} == {None}
    assert [reading.entry.payload.decode() for reading in readings if reading.entry] == keys
    assert len(exchanges) == 4
    assert sum(exchanges[:3]) == 120


# -- slots move ------------------------------------------------------------------------------


def test_an_entry_whose_slot_moves_is_found_before_meanwhile_and_afterwards(
    store: ClusterStore, redis_cluster: RedisCluster
) -> None:
    keep(store, "k", "a")
    with redis_cluster.moving(store._entry_key("k")) as move:
        assert is_hit(store, "k")
        move(store._entry_key("k"))
        assert is_hit(store, "k")
        assert store.read_many([("k", ())])[0].entry is not None
        keep(store, "k", "b")
        assert store.read("k", ()).states.keys() == {"b"}
    assert is_hit(store, "k")
    store.delete("k")
    assert store.read("k", ()).entry is None


def test_tags_whose_slot_moves_are_not_trusted_where_they_arrive(
    store: ClusterStore, redis_cluster: RedisCluster
) -> None:
    before = keep(store, "k", "a")
    with redis_cluster.moving(store._register):
        pass
    reading = store.read("k", ())
    assert reading.entry is not None
    assert reading.states["a"] not in {before, PENDING}
    store.mark("w", ["a"], LEASE)
    assert token_of(store, "a") is PENDING
    store.release("w", ["a"])


def test_a_token_that_arrives_after_a_commit_makes_nothing_old_fresh(
    store: ClusterStore, redis_cluster: RedisCluster
) -> None:
    """It was under way while a writer changed its tag where the register was already."""
    old = keep(store, "k", "a")
    with redis_cluster.moving(store._register) as move:
        move(store._register)
        for attempt in (lambda: store.mark("w", ["a"], LEASE), lambda: store.release("w", ["a"])):
            with pytest.raises(StoreUnavailable):
                attempt()
        with pytest.raises(StoreUnavailable):
            store.read("k", ())
    assert token_of(store, "a") not in {old, PENDING}
    assert not is_hit(store, "k")


# -- servers die -----------------------------------------------------------------------------


def test_tags_whose_server_dies_are_with_its_replica_then_and_nothing_old_is_trusted(
    mortal: ClusterStore, fresh_cluster: RedisCluster
) -> None:
    key = key_on(mortal, fresh_cluster, 1)
    before = keep(mortal, key, "a")
    assert is_hit(mortal, key)
    fresh_cluster.primaries[0].kill()
    for operation in (
        lambda: mortal.read(key, ["a"]),
        lambda: mortal.mark("w", ["a"], LEASE),
        lambda: mortal.release("w", ["a"]),
    ):
        with pytest.raises(StoreUnavailable):
            operation()
    until_back(mortal, within=20)
    assert fresh_cluster.owner_of(mortal._register) is fresh_cluster.replicas[0]
    reading = mortal.read(key, ())
    assert reading.entry is not None
    assert reading.states["a"] not in {before, PENDING}
    keep(mortal, key, "a")
    assert is_hit(mortal, key)


def test_without_a_server_that_has_entries_the_others_are_used(
    mortal: ClusterStore, fresh_cluster: RedisCluster
) -> None:
    lost, kept = key_on(mortal, fresh_cluster, 2), key_on(mortal, fresh_cluster, 1)
    for key in (lost, kept):
        keep(mortal, key, "a")
    fresh_cluster.primaries[2].kill()
    for _ in range(3):
        assert mortal.read(lost, ["a"]).entry is None
        assert is_hit(mortal, kept)
        mortal.write(lost, Entry({}, b"x"), None)
        readings = mortal.read_many([(lost, ()), (kept, ())])
        assert [reading.entry is not None for reading in readings] == [False, True]
    with pytest.raises(StoreUnavailable):
        mortal.delete(lost)


def test_a_cluster_that_is_away_when_it_is_first_needed_is_found_later(
    redis_cluster: RedisCluster,
) -> None:
    failures = 1

    def connect() -> Client:
        nonlocal failures
        failures -= 1
        return (
            Client(host="127.0.0.1", port=1)
            if failures == 0
            else Client.from_url(redis_cluster.url)
        )

    store = ClusterStore(connect, namespace=secrets.token_hex(4), grace=0.0)
    with pytest.raises(StoreUnavailable):
        store.read("k", ["a"])
    until_back(store, within=20)
    keep(store, "k", "a")
    assert is_hit(store, "k")
    store.close()


def test_a_server_that_was_given_up_and_does_not_know_it_is_not_read_from(
    mortal: ClusterStore, fresh_cluster: RedisCluster
) -> None:
    """It was stopped, and goes on. Before it hears of its successor it answers a client, now and then."""
    namespace = mortal._register.split(":")[3].rstrip("}")
    other = new_store(fresh_cluster, namespace)
    before = keep(mortal, "k", "a")
    assert token_of(other, "a") == before
    with fresh_cluster.primaries[0].paused():
        replica = fresh_cluster.replicas[0]
        wait_for(lambda: "myself,master" in replica.ask("CLUSTER", "NODES"))
        until_back(other, within=20)
        other.release("w", ["a"])
    assert token_of(mortal, "a") == token_of(other, "a") != before
    other.close()


def test_who_holds_the_tokens_is_asked_for_after_a_while_only(
    store: ClusterStore, exchanges: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, "k", "a")
    for tenure, asked in ((60.0, []), (0.0, [1, 1])):
        monkeypatch.setattr(nodes, "TENURE", tenure)
        exchanges.clear()
        assert is_hit(store, "k")
        assert exchanges == [2, *asked, 4]


def test_tokens_are_not_read_if_nobody_says_who_holds_them(
    store: ClusterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_of(store, "a")
    holder = store._wires_of_tags()
    for wires in store._nodes._wires.values():
        if wires is not holder:
            wires.breaker.failed("cut off")
            monkeypatch.setattr(wires.breaker, "_retry_at", time.monotonic() + 60)
    token_of(store, "a")
    monkeypatch.setattr(nodes, "TENURE", 0.0)
    with pytest.raises(StoreUnavailable, match="nobody"):
        token_of(store, "a")


# -- in a project ----------------------------------------------------------------------------

CACHES = {
    "django": {"BACKEND": "tests.stores.clustered.ClusterCache"},
    "django-redis": {
        "BACKEND": "django_redis.cache.RedisCache",
        "OPTIONS": {"CONNECTION_FACTORY": "tests.stores.clustered.ClusterFactory"},
    },
}


@pytest.mark.parametrize("kind", CACHES)
def test_a_project_names_its_cluster_in_caches(
    kind: str, redis_cluster: RedisCluster, settings: Any
) -> None:
    named = {**CACHES[kind], "LOCATION": redis_cluster.url}
    settings.CACHES = {**settings.CACHES, "own": named}
    settings.LAYERCACHE = {"CACHE": "own", "NAMESPACE": secrets.token_hex(4), "GRACE": 0}
    caches["own"].set("k", "v")
    assert caches["own"].get("k") == "v"
    store = get_engine().store
    assert isinstance(store, ClusterStore)
    keep(store, "k", "a")
    assert is_hit(store, "k")
    assert check_settings() == []


def test_no_page_fails_for_a_cluster_that_is_away(settings: Any) -> None:
    named = {**CACHES["django"], "LOCATION": "redis://127.0.0.1:1"}
    settings.CACHES = {**settings.CACHES, "own": named}
    settings.LAYERCACHE = {"CACHE": "own"}
    assert get_engine().get_or_build(recipe(), Builder("built")) == "built"
