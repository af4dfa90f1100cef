"""A clock in hand for each kind of store."""

import asyncio
import secrets
import time
from collections.abc import Callable
from math import ceil
from typing import Any

import redis
from redis.cluster import RedisCluster

from django_layercache.stores.base import Reading
from django_layercache.stores.cluster import ClusterStore
from django_layercache.stores.local import LocalStore
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.memcached_commands import Command, Stats, pipeline
from django_layercache.stores.memcached_generations import server_time
from django_layercache.stores.memcached_wire import Server
from django_layercache.stores.near import Known, NearStore
from django_layercache.stores.redis import RedisStore
from django_layercache.stores.shelf import monotonic
from tests.services import MemcachedServer

# Instead of TIME: a key of the namespace, and the real clock as long as nobody has set it.
NOW = """
local hands = redis.call('GET', ARGV[1] .. 'clock')
local clock = redis.call('TIME')
local now = tonumber(hands) or (clock[1] * 1000000 + clock[2])
"""


class LocalClock:
    """The clock of a `local` store."""

    def __init__(self, **options: Any) -> None:
        self.seconds = 1_000.0
        self.store = LocalStore(clock=lambda: self.seconds, **options)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

    def let_entries_age(self, seconds: float) -> None:
        self.advance(seconds)


class ReadsTwice(RedisStore):
    """Whatever is read, is read for the second time, and so without a script where that can be."""

    def read(self, *args: Any) -> Reading:
        super().read(*args)
        return super().read(*args)

    def read_many(self, *args: Any) -> list[Reading]:
        super().read_many(*args)
        return super().read_many(*args)


class Awaiting:
    """Whatever a reader does, it does on an event loop, and on a new one each time."""

    aread: Any
    aread_many: Any
    awrite: Any

    def read(self, *args: Any) -> Reading:
        return asyncio.run(self.aread(*args))

    def read_many(self, *args: Any) -> list[Reading]:
        return asyncio.run(self.aread_many(*args))

    def write(self, *args: Any) -> None:
        asyncio.run(self.awrite(*args))


class Awaits(Awaiting, RedisStore):
    """A `redis` store that is awaited."""


class AwaitsMemcached(Awaiting, MemcachedStore):
    """A `memcached` store that is awaited."""


class AwaitsCluster(Awaiting, ClusterStore):
    """A store on a Redis Cluster that is awaited."""


class AwaitsNear(Awaiting, NearStore):
    """A near tier that is awaited."""


class RedisClock:
    """The clock of a `redis` store. Entries and tokens leave by the server's real one, though."""

    def __init__(self, pool: redis.ConnectionPool, grace: float = 0.0, **options: Any) -> None:
        self.seconds = 1_700_000_000.0
        namespace = options.pop("namespace", secrets.token_hex(4))
        store_class = options.pop("store_class", RedisStore)
        self.store = store_class(pool, namespace=namespace, grace=grace, now=NOW, **options)
        self.prefix = f"layercache:1:{{{namespace}}}:"
        self.client = redis.Redis(connection_pool=pool)
        self.advance(0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.client.set(f"{self.prefix}clock", f"{self.seconds * 1e6:.0f}")

    def let_entries_age(self, seconds: float) -> None:
        time.sleep(seconds + 0.02)

    def held(self) -> list[str]:
        """The keys of the namespace, without the clock."""
        names = (name.decode() for name in self.client.keys(f"{self.prefix}*"))
        return sorted(name for name in names if not name.endswith("}:clock"))


class MemcachedClock:
    """The clock of a `memcached` store. Items leave by the server's real one, though, which shows whole seconds."""

    def __init__(self, *servers: MemcachedServer, grace: float = 0.0, **options: Any) -> None:
        self.seconds = 1_700_000_000.0
        options.setdefault("namespace", secrets.token_hex(4))
        pool = [Server((server.host, server.port)) for server in servers]
        store_class = options.pop("store_class", MemcachedStore)
        self.store = store_class(
            pool, grace=grace, clock=lambda stats: self.seconds, slack=0.0, **options
        )
        self.keys = self.store._keys

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

    def let_entries_age(self, seconds: float) -> None:
        end = self._time() + ceil(seconds)
        while self._time() < end:
            time.sleep(0.02)

    def _time(self) -> float:
        return server_time(self.ask(Stats()))

    def ask(self, command: Command) -> Any:
        """The first server's reply to *command*."""
        return self.store._first.run(lambda identity: pipeline([command]))[0]


class ClusterClock:
    """The clock of a store on a Redis Cluster."""

    def __init__(
        self, url: str, grace: float = 0.0, store_class: type[ClusterStore] = ClusterStore
    ) -> None:
        self.seconds = 1_700_000_000.0
        namespace = secrets.token_hex(4)
        self.client = RedisCluster.from_url(url)
        self.store = store_class(lambda: self.client, namespace=namespace, grace=grace, now=NOW)
        self.prefix = f"layercache:1:{{layercache:{namespace}}}:"
        self.advance(0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.client.set(f"{self.prefix}clock", f"{self.seconds * 1e6:.0f}")

    def let_entries_age(self, seconds: float) -> None:
        time.sleep(seconds + 0.02)


class NearClock:
    """The clock of the store behind a near tier. *known* is how fresh the tier is."""

    def __init__(
        self,
        shared: LocalClock | RedisClock | MemcachedClock,
        known: Known | None = None,
        store_class: type[NearStore] = NearStore,
    ) -> None:
        self.shared = shared
        clock = (lambda: shared.seconds) if isinstance(shared, LocalClock) else monotonic
        self.store = store_class(shared.store, known, clock=clock)

    def advance(self, seconds: float) -> None:
        self.shared.advance(seconds)

    def let_entries_age(self, seconds: float) -> None:
        self.shared.let_entries_age(seconds)


Clock = LocalClock | RedisClock | MemcachedClock | ClusterClock | NearClock
MakeClock = Callable[..., Clock]
