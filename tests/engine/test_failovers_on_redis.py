"""A replica takes the place of the primary, under writes. What was cached is dropped, or kept: nothing is stale."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest
import redis
from redis.cluster import RedisCluster as Client
from redis.sentinel import Sentinel, SentinelConnectionPool

from django_layercache.engine import Engine
from django_layercache.engine.outages import Outages
from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores import redis as redis_store
from django_layercache.stores.base import Reading
from django_layercache.stores.cluster import ClusterStore
from django_layercache.stores.redis import RedisStore
from tests.engine.test_outages import ListOutbox, until_paid
from tests.engine.tools import recipe
from tests.proxies import Proxy
from tests.redis_services import RedisCluster, SentinelServer
from tests.services import RedisServer, wait_for

Two = tuple[RedisServer, RedisServer]


class Site:
    """A database that is a number, and processes that cache it; a name that leads to the primary."""

    def __init__(self, servers: Two) -> None:
        self.servers = servers
        self.proxy = Proxy(servers[0])
        self.outbox = ListOutbox()
        self.committed = self.returned = 0
        self._made: list[RedisStore] = []

    def new_process(self, replicas: int) -> Engine:
        store = self.new_store(replicas)
        self._made.append(store)
        engine = Engine(store, jitter=0.0, outbox=self.outbox)
        engine.outages = Outages(store, self.outbox, pause=0.01)
        return engine

    def new_store(self, replicas: int) -> RedisStore:
        pool = redis.ConnectionPool(host="127.0.0.1", port=self.proxy.port)
        return RedisStore(pool, grace=0.2, replicas=replicas)

    def fail_over(self) -> None:
        old, new = self.servers
        old.kill()
        new.promote()
        self.proxy.target = new
        self.proxy.cut()

    def write(self, engine: Engine) -> None:
        write = engine.new_write()
        write.touch(["a"])
        unmarked = write.mark()
        if unmarked:
            engine.outages.owe()
        self.committed += 1
        self.outbox.left += unmarked
        write.release()
        self.returned = self.committed

    def read(self, engine: Engine) -> bool:
        """Ask, and see that the answer is not from before the question; whether it was a hit."""
        least = self.returned
        built: list[int] = []

        def build() -> str:
            built.append(self.committed)
            return str(built[0])

        assert int(engine.get_or_build(recipe("k", "a"), build)) >= least
        return not built

    def until_hit(self, engine: Engine) -> None:
        wait_for(lambda: self.read(engine))

    def close(self) -> None:
        for store in self._made:
            store.close()
        self.proxy.close()


@pytest.fixture
def site(replicated: Two) -> Iterator[Site]:
    made = Site(replicated)
    yield made
    made.close()


@pytest.fixture
def fed_at_once(monkeypatch: pytest.MonkeyPatch, replicated: Two) -> None:
    """A replica counts as one that was fed from its second second on, not only after a minute.

    Servers tell in whole seconds how long they have been up.
    """
    monkeypatch.setattr(redis_store, "FED_FOR", -0.5)
    wait_for(lambda: "uptime_in_seconds:0" not in replicated[1].ask("INFO", "server"))


def tokens(engine: Engine) -> Reading:
    return engine.store.read(None, ["a"])


def test_what_is_kept_is_hit_after_the_failover(site: Site, fed_at_once: None) -> None:
    engine = site.new_process(replicas=1)
    site.write(engine)
    site.until_hit(engine)
    before = tokens(engine)
    site.fail_over()
    assert not site.read(engine)  # whoever notices looks into the outbox first
    until_paid(engine)
    after = tokens(engine)
    assert after.states == before.states
    assert site.read(engine)
    # What the old one drew last may not have arrived.
    assert int(after.sequence[8:]) - int(before.sequence[8:]) > 50_000_000


def test_what_is_not_kept_is_built_anew(site: Site, fed_at_once: None) -> None:
    engine = site.new_process(replicas=0)
    site.write(engine)
    site.until_hit(engine)
    before = tokens(engine)
    site.fail_over()
    assert not site.read(engine)
    site.until_hit(engine)
    assert tokens(engine).states != before.states


def test_a_server_that_was_restarted_with_old_data_is_not_taken_for_a_replica(
    site: Site, fed_at_once: None
) -> None:
    engine = site.new_process(replicas=1)
    site.write(engine)
    site.until_hit(engine)
    before, fed_at = tokens(engine), time.time()
    wait_for(lambda: time.time() > fed_at + 1.6)
    site.servers[1].ask("REPLICAOF", "NO", "ONE")
    site.servers[1].ask("SAVE")
    site.servers[1].kill()
    site.servers[1].start()
    site.fail_over()
    assert not site.read(engine)
    until_paid(engine)
    assert tokens(engine).states != before.states


def test_a_mark_that_the_replica_has_not_acknowledged_is_one_that_could_not_be_placed(
    site: Site, fed_at_once: None
) -> None:
    """And so the replica may be promoted: whoever reads from it has seen the outbox before."""
    engine, other = site.new_process(replicas=1), site.new_process(replicas=1)
    site.write(engine)
    for process in (engine, other):
        site.until_hit(process)
    with site.servers[1].paused():
        site.write(engine)
        assert site.outbox.left == ["a"]
        site.servers[0].kill()
    site.fail_over()
    site.servers[0].start()
    site.servers[0].follow(site.servers[1])
    for process in (other, engine, other):
        site.read(process)
    for process in (engine, other):
        until_paid(process)
        site.until_hit(process)


@pytest.mark.parametrize("replicas", (0, 1))
def test_nothing_stale_is_read_while_writers_see_the_failover(
    site: Site, fed_at_once: None, replicas: int
) -> None:
    processes = [site.new_process(replicas) for _ in range(3)]
    with at_work(site, processes):
        site.fail_over()
        site.servers[0].start()
        site.servers[0].follow(site.servers[1])
    site.until_hit(processes[1])


@contextmanager
def at_work(site: Site, processes: Sequence[Engine]) -> Iterator[None]:
    """One process writes and the others read, before, during and after the body."""
    done = threading.Event()
    failures: list[BaseException] = []

    def repeat(step: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                step()
        except BaseException as error:
            failures.append(error)

    def more() -> None:
        seen = site.returned
        wait_for(lambda: site.returned > seen + 20 or bool(failures))

    acts = [site.write, *[site.read] * (len(processes) - 1)]
    threads = [
        threading.Thread(target=repeat, args=(partial(act, process),))
        for act, process in zip(acts, processes, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        more()
        yield
        more()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures


#: Of seconds: how long a read or a write may take while the primary is away, on a loaded machine.
BOUND = 5


class SentinelSite(Site):
    """The same with a Sentinel, which notices by itself that the primary is away."""

    def __init__(self, servers: Two, way: Proxy, sentinel: SentinelServer) -> None:
        super().__init__(servers)
        self.way = way
        self.sentinel = sentinel

    def new_store(self, replicas: int) -> RedisStore:
        manager = Sentinel([(self.sentinel.host, self.sentinel.port)])
        pool = SentinelConnectionPool(self.sentinel.service, manager)
        return RedisStore(pool, grace=0.2, replicas=replicas)

    def read(self, engine: Engine) -> bool:
        with bounded():
            return super().read(engine)

    def write(self, engine: Engine) -> None:
        with bounded():
            super().write(engine)

    def fail_over(self) -> None:
        wait_for(lambda: self.sentinel.primary_port == self.servers[1].port)


@contextmanager
def bounded() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < BOUND


@pytest.mark.parametrize("how", ("stopped", "cut off"))
def test_nothing_stale_is_read_and_nobody_waits_while_a_primary_is_given_up_and_comes_back(
    how: str,
    replicated: Two,
    way: Proxy,
    sentinel: SentinelServer,
) -> None:
    site = SentinelSite(replicated, way, sentinel)
    processes = [site.new_process(0) for _ in range(3)]
    with at_work(site, processes):
        with replicated[0].paused() if how == "stopped" else way.deaf():
            site.fail_over()
            wait_for(lambda: _answers(processes[0]))
        assert "role:master" in replicated[0].ask("INFO", "replication"), "it knows it already"
    site.until_hit(processes[1])
    site.close()


class ClusterSite(Site):
    """The same on a Redis Cluster."""

    def __init__(self, cluster: RedisCluster) -> None:
        super().__init__((cluster.primaries[0], cluster.replicas[0]))
        self.cluster = cluster
        names = (f"shop {number}" for number in range(1000))
        self.namespace = next(name for name in names if self._is_on_the_first(name))

    def _is_on_the_first(self, namespace: str) -> bool:
        register = f"{{layercache:{namespace}}}"
        return self.cluster.owner_of(register) is self.cluster.primaries[0]

    def new_store(self, replicas: int) -> RedisStore:
        return ClusterStore(
            lambda: Client.from_url(self.cluster.url), namespace=self.namespace, grace=0.2
        )

    def fail_over(self) -> None:
        replica = self.cluster.replicas[0]
        wait_for(lambda: "myself,master" in replica.ask("CLUSTER", "NODES"))


@pytest.mark.parametrize("how", ("killed", "stopped"))
def test_nothing_stale_is_read_while_the_server_of_the_tags_is_away(
    how: str, fresh_cluster: RedisCluster
) -> None:
    """One that was stopped comes back, and does not know that it was given up."""
    site = ClusterSite(fresh_cluster)
    processes = [site.new_process(0) for _ in range(3)]
    server = fresh_cluster.primaries[0]
    with at_work(site, processes):
        server.kill() if how == "killed" else server.pause()
        site.fail_over()
        wait_for(lambda: _answers(processes[0]))
        if how == "stopped":
            server.resume()
            wait_for(lambda: "myself,slave" in server.ask("CLUSTER", "NODES"))
    site.until_hit(processes[1])
    site.close()


def _answers(engine: Engine) -> bool:
    try:
        engine.store.read(None, ())
    except StoreUnavailable:
        return False
    return True
