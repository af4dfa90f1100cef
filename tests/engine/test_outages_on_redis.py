"""The same on a real server that is killed, paused, or back with what it once held."""

import time
from collections.abc import Iterator

import pytest
import redis

from django_layercache.engine import Engine
from django_layercache.stores.redis import RedisStore
from tests.engine.test_outages import ListOutbox, commit_while_away, until_paid
from tests.engine.tools import change, get, until_stored
from tests.proxies import Nowhere, Proxy
from tests.services import RedisServer

#: Seconds. What the protocol presumes of it: longer than the rest of a COMMIT.
GRACE = 0.3


@pytest.fixture
def outbox() -> ListOutbox:
    return ListOutbox()


def new_engine(server: RedisServer, outbox: ListOutbox) -> Engine:
    pool = redis.ConnectionPool(host=server.host, port=server.port)
    return Engine(RedisStore(pool, grace=GRACE), jitter=0.0, outbox=outbox)


@pytest.fixture
def engine(fresh_redis: RedisServer, outbox: ListOutbox) -> Iterator[Engine]:
    made = new_engine(fresh_redis, outbox)
    made.store.read(None, ())
    time.sleep(GRACE + 0.05)
    yield made
    made.store.close()


@pytest.fixture
def other_process(fresh_redis: RedisServer, outbox: ListOutbox, engine: Engine) -> Iterator[Engine]:
    made = new_engine(fresh_redis, outbox)
    yield made
    made.store.close()


def test_a_commit_while_the_server_is_dead_is_seen_when_it_is_back_with_its_dump(
    engine: Engine, other_process: Engine, fresh_redis: RedisServer, outbox: ListOutbox
) -> None:
    assert get(engine, "old") == get(other_process, "new") == "old"
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).save()
    fresh_redis.kill()
    assert get(engine, "built") == "built"
    commit_while_away(engine, outbox, "a")
    fresh_redis.start()
    # Another process may have noticed nothing of all that.
    assert get(other_process, "new") == get(engine, "new") == "new"
    until_paid(engine)
    until_paid(other_process)
    assert get(other_process, "new") == get(engine, "new") == "new"
    until_stored(engine, "new")
    assert get(other_process, "newer") == "new"


def test_a_commit_while_the_server_does_not_answer_is_seen_when_it_does(
    engine: Engine, fresh_redis: RedisServer, outbox: ListOutbox
) -> None:
    assert get(engine, "old") == "old"
    with fresh_redis.paused():
        commit_while_away(engine, outbox, "a")
        assert get(engine, "new") == "new"
    assert get(engine, "new") == "new"
    until_paid(engine)
    assert get(engine, "new") == "new"


def test_a_server_that_was_stopped_keeps_nothing_pending_for_a_lease(
    engine: Engine, fresh_redis: RedisServer, outbox: ListOutbox
) -> None:
    """It places the mark of a writer that has given up long ago."""
    engine.lease = 600.0
    change(engine, "another")  # the server learns the scripts
    assert get(engine, "old") == "old"
    with fresh_redis.paused():
        commit_while_away(engine, outbox, "a")
    until_paid(engine)
    until_stored(engine, "new")


def test_a_commit_that_could_not_be_marked_is_told_to_a_store_that_others_use_again_already(
    engine: Engine, other_process: Engine, outbox: ListOutbox
) -> None:
    """This process has not noticed yet that the server is back: it would ask again in a minute."""
    assert get(other_process, "old") == "old"
    breaker = engine.store._wires.breaker  # type: ignore[attr-defined]
    breaker.failed("cut off")
    breaker._retry_at = time.monotonic() + 60
    commit_while_away(engine, outbox, "a")
    assert get(other_process, "new") == "new"


@pytest.fixture
def cut_off(proxy: Proxy, outbox: ListOutbox, engine: Engine) -> Iterator[Engine]:
    """A process behind a network that will be cut."""
    pool = redis.ConnectionPool(host="127.0.0.1", port=proxy.port)
    made = Engine(RedisStore(pool, grace=GRACE), jitter=0.0, outbox=outbox, lease=600.0)
    yield made
    made.store.close()


def test_a_network_that_is_cut_between_mark_and_release_serves_nothing_stale(
    cut_off: Engine, engine: Engine, proxy: Proxy, fresh_redis: RedisServer
) -> None:
    assert get(cut_off, "old") == get(engine, "other") == "old"

    def cut() -> None:
        proxy.target = Nowhere()
        proxy.cut()

    change(cut_off, "a", during=cut)
    assert get(engine, "new") == get(cut_off, "new") == "new"
    proxy.target = fresh_redis
    until_paid(cut_off)
    until_stored(engine, "new")
    assert get(cut_off, "newer") == "new"


def test_a_mark_whose_answer_is_lost_serves_nothing_stale(
    cut_off: Engine, engine: Engine, proxy: Proxy, outbox: ListOutbox
) -> None:
    change(cut_off, "another")  # the server learns the scripts
    assert get(cut_off, "old") == get(engine, "other") == "old"
    proxy.swallow_answers = True
    commit_while_away(cut_off, outbox, "a")
    assert get(engine, "new") == get(cut_off, "new") == "new"
    proxy.swallow_answers = False
    proxy.cut()
    until_paid(cut_off)
    until_stored(engine, "new")


def test_a_server_that_restarts_between_mark_and_release_serves_nothing_stale(
    engine: Engine, other_process: Engine, fresh_redis: RedisServer
) -> None:
    assert get(engine, "old") == "old"
    redis.Redis(host=fresh_redis.host, port=fresh_redis.port).save()
    write = engine.new_write()
    write.touch(["a"])
    assert write.mark() == []
    fresh_redis.kill()
    fresh_redis.start()
    assert get(other_process, "old") == "old"  # built: it is not committed yet
    # COMMIT
    assert get(other_process, "new") == "new"
    write.release()
    assert get(other_process, "new") == get(engine, "new") == "new"
    until_paid(engine)
    assert get(engine, "new") == "new"


def test_a_flushed_server_serves_nothing_stale(
    engine: Engine, other_process: Engine, fresh_redis: RedisServer
) -> None:
    assert get(engine, "old") == "old"

    def flush() -> None:
        redis.Redis(host=fresh_redis.host, port=fresh_redis.port).flushall()
        assert get(other_process, "old") == "old"
        # COMMIT
        assert get(other_process, "new") == "new"

    change(engine, "a", during=flush)
    assert get(other_process, "new") == "new"
    until_stored(engine, "new")
