"""Engines of two processes on a real memcached that is killed, or paused, between a mark and its release too."""

from collections.abc import Iterator

import pytest

from django_layercache.engine import Engine
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.memcached_wire import Server
from tests.engine.test_outages import ListOutbox, commit_while_away, until_paid
from tests.engine.tools import get, until_stored
from tests.plugin import require
from tests.services import MemcachedServer


@pytest.fixture
def server() -> Iterator[MemcachedServer]:
    require(MemcachedServer)
    made = MemcachedServer()
    made.start()
    yield made
    made.kill()
    made.stop()


@pytest.fixture
def outbox() -> ListOutbox:
    return ListOutbox()


def new_engine(server: MemcachedServer, outbox: ListOutbox) -> Engine:
    store = MemcachedStore([Server((server.host, server.port))], grace=60.0)
    store.end_grace(store.read(None, ()).sequence)
    return Engine(store, jitter=0.0, outbox=outbox)


@pytest.fixture
def engines(server: MemcachedServer, outbox: ListOutbox) -> Iterator[tuple[Engine, Engine]]:
    made = new_engine(server, outbox), new_engine(server, outbox)
    yield made
    for engine in made:
        until_paid(engine)
        engine.store.close()


def end_grace(engine: Engine) -> None:
    engine.store.end_grace(engine.store.read(None, ()).sequence)


def test_a_commit_while_the_server_is_dead_is_seen_when_it_is_back(
    server: MemcachedServer, outbox: ListOutbox, engines: tuple[Engine, Engine]
) -> None:
    here, there = engines
    assert get(here, "old") == get(there, "new") == "old"
    server.kill()
    assert get(here, "built") == "built"
    commit_while_away(here, outbox, "a")
    server.start()
    assert get(there, "new") == get(here, "new") == "new"
    until_paid(here), until_paid(there)
    end_grace(here)
    until_stored(here, "new")
    assert get(there, "newer") == "new"


def test_a_commit_while_the_server_does_not_answer_is_seen_when_it_does(
    server: MemcachedServer, outbox: ListOutbox, engines: tuple[Engine, Engine]
) -> None:
    here, _ = engines
    assert get(here, "old") == "old"
    with server.paused():
        commit_while_away(here, outbox, "a")
        assert get(here, "new") == "new"
    assert get(here, "new") == "new"
    until_paid(here)
    assert get(here, "new") == "new"


def test_a_server_that_restarts_between_mark_and_release_serves_nothing_stale(
    server: MemcachedServer, engines: tuple[Engine, Engine]
) -> None:
    here, there = engines
    assert get(here, "old") == "old"
    write = here.new_write()
    write.touch(["a"])
    assert write.mark() == []
    server.kill()
    server.start()
    assert get(there, "old") == "old"  # built: it is not committed yet
    # COMMIT
    assert get(there, "new") == "new"
    write.release()
    assert get(there, "new") == get(here, "new") == "new"
    until_paid(there)
    end_grace(there)
    until_stored(there, "new")
    assert get(there, "newer") == "new"
