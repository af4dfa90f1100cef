"""After a store has lost its marks it is trusted again when no writer of then can be left, and not before."""

import threading
import time

import pytest
import redis
from django.db import connections, transaction

from django_layercache.engine import Engine, trace
from django_layercache.querysets.postgres import PostgresTransactions
from django_layercache.stores.redis import RedisStore
from tests.engine.tools import Builder, recipe
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "postgres"])


@pytest.fixture
def lost_store(fresh_redis):
    """A store in the grace that follows the loss of its register; without help it lasts a minute."""
    pool = redis.ConnectionPool(host=fresh_redis.host, port=fresh_redis.port)
    store = RedisStore(pool, grace=60)
    yield store
    store.close()
    pool.disconnect()


def engine_for(store):
    return Engine(store, transactions=PostgresTransactions(["postgres"]), grace=0.1)


def is_trusted(engine):
    reading = engine._read(None, ["tag"])
    assert reading.in_grace == (reading.states["tag"] is None)
    return not reading.in_grace


def becomes_trusted(engine, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_trusted(engine):
            return True
        time.sleep(0.02)
    return False


def test_nothing_is_settled_while_the_grace_lasts(lost_store):
    engine = Engine(lost_store)
    assert not is_trusted(engine)
    lost_store.mark("w", ["tag"], 30)
    lost_store.release("w", ["tag"])
    assert not is_trusted(engine)


def test_why_nothing_is_stored_is_not_left_at_tags_that_nobody_is_about_to_change(lost_store):
    engine = Engine(lost_store)
    with trace() as events:
        engine.get_or_build(recipe("k", "tag"), Builder())
    assert events[0].reason.startswith("the store is new, or may have lost marks a moment ago; not")
    assert "; the store is new" in engine.peek(recipe("k", "tag")).reason


def test_the_grace_ends_when_no_transaction_of_then_is_open(lost_store):
    assert becomes_trusted(engine_for(lost_store))


def test_the_grace_lasts_while_a_writing_transaction_of_then_is_open(lost_store):
    opened, may_end = threading.Event(), threading.Event()

    def write():
        with transaction.atomic(using="postgres"):
            Author.objects.using("postgres").create(name="slow")
            opened.set()
            may_end.wait(20)
        connections.close_all()

    thread = threading.Thread(target=write)
    thread.start()
    opened.wait(10)
    engine = engine_for(lost_store)
    try:
        assert not becomes_trusted(engine, seconds=1)
    finally:
        may_end.set()
        thread.join()
    assert becomes_trusted(engine)


def test_an_end_that_was_meant_for_an_older_loss_ends_nothing(lost_store):
    before = lost_store.read(None, ()).sequence
    redis.Redis(connection_pool=lost_store.client.connection_pool).delete(lost_store._register)
    assert lost_store.read(None, ()).in_grace
    lost_store.end_grace(before)
    assert lost_store.read(None, ()).in_grace
    lost_store.end_grace(lost_store.read(None, ()).sequence)
    assert not lost_store.read(None, ()).in_grace


def test_a_database_that_cannot_tell_leaves_the_grace_to_time():
    assert PostgresTransactions.of_settings() is None  # one of the test databases is SQLite
