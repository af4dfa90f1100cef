"""A server that has hardly any memory, and throws away whatever its policy says."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from django_layercache.engine import Engine
from django_layercache.engine.outages import Outages
from django_layercache.stores.redis import RedisStore
from tests.engine.test_outages import ListOutbox, until_paid
from tests.engine.tools import Builder, recipe
from tests.services import RedisServer

TAGS = 12
ROOM = 700_000  # bytes beside what an empty server takes
STEPS = 400


@pytest.fixture
def engine(fresh_redis: RedisServer) -> Iterator[Engine]:
    pool = redis.ConnectionPool(host=fresh_redis.host, port=fresh_redis.port)
    outbox = ListOutbox()
    made = Engine(RedisStore(pool, grace=0.02), jitter=0.0, outbox=outbox)
    made.outages = Outages(made.store, outbox, pause=0.005)
    yield made
    until_paid(made)
    made.store.close()


@pytest.mark.parametrize("policy", ("allkeys-lru", "volatile-ttl", "allkeys-random", "noeviction"))
def test_nothing_stale_is_answered_by_a_server_without_memory(
    engine: Engine, fresh_redis: RedisServer, policy: str
) -> None:
    engine.store.read(None, ())
    admin = redis.Redis(host=fresh_redis.host, port=fresh_redis.port)
    admin.config_set("maxmemory-policy", policy)
    admin.config_set("maxmemory", admin.info("memory")["used_memory"] + ROOM)
    database: Counter[str] = Counter()
    hits, chance = 0, random.Random(5)

    def read(tag: str) -> bool:
        truth = f"{database[tag]}:" + "x" * 20_000
        build = Builder(truth)
        answer = engine.get_or_build(recipe(f"{tag} {chance.randrange(4)}", tag), build)
        assert answer == truth, f"{answer[:9]}, not {truth[:9]}"
        return not build.calls

    for _ in range(STEPS):
        until_paid(engine)
        tag = f"tag{chance.randrange(TAGS)}"
        if chance.random() < 0.8:
            hits += read(tag)
            continue
        write = engine.new_write()
        write.touch([tag])
        unmarked = write.mark()
        if unmarked:
            engine.outages.owe()
        read(tag)
        database[tag] += 1
        engine.outages.outbox.left += unmarked  # type: ignore[union-attr]
        read(tag)
        write.release()
        read(tag)
    assert hits > 5, "hardly anything was a hit"
    stats = admin.info("stats")
    assert stats["evicted_keys"] > 50 or (policy == "noeviction" and stats["total_error_replies"])
