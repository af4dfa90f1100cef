"""Redis stopped or killed in the middle: the site goes on from the database, and afterwards nothing is stale."""

import time
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, transaction

from django_layercache.exceptions import WriteRefused
from django_layercache.handlers import get_engine
from django_layercache.models import OutboxEntry
from tests.querysets.conftest import POSTGRES, SQLITE, wait_until_trusted
from tests.querysets.test_transactions import one, rename, titles
from tests.querysets.world import World, cached, elsewhere, is_hit, outcomes, uncached, warm

#: Of seconds: how long a read or a write may take while the server is away, on a loaded machine.
BOUND = 5


def use(server, settings, **more):
    settings.CACHES = {
        **settings.CACHES,
        "own": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url},
    }
    settings.LAYERCACHE = {"CACHE": "own", "GRACE": 0.2, **more}
    wait_until_trusted()


@pytest.fixture
def world(alias, fresh_redis, settings):
    use(fresh_redis, settings)
    return World(alias)


@contextmanager
def stopped(server):
    """The server accepts connections and never answers."""
    with server.paused():
        yield


@contextmanager
def gone(server):
    """The server's process is killed, and another one started afterwards."""
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def from_an_old_dump(server):
    """The same, but the new process has what the old one had dumped before the outage."""
    get_engine().store.client.save()
    with gone(server):
        yield


away = pytest.mark.parametrize("outage", (stopped, gone, from_an_old_dump))


@contextmanager
def bounded():
    started = time.monotonic()
    yield
    assert time.monotonic() - started < BOUND


def outbox(w):
    return OutboxEntry.objects.using(w.alias).count()


def hits_again(w, read):
    deadline = time.monotonic() + 20
    while not is_hit(read, w):
        assert time.monotonic() < deadline, "the store is never trusted again"
        assert cached(read, w) == uncached(read, w)
        time.sleep(0.05)
    return cached(read, w)


@away
def test_reads_and_writes_go_on_and_nothing_is_stale_afterwards(world, fresh_redis, outage):
    w = world
    warm(titles, w), warm(one, w)
    with outage(fresh_redis):
        for title in ("first", "second"):
            with bounded():
                assert cached(titles, w) == uncached(titles, w)
            with bounded():
                rename(w, title)
            with bounded(), transaction.atomic(w.alias):
                w.all().filter(pk=w.two.pk).update(title=title)
            with bounded():
                assert cached(titles, w)[:2] == [title, title]
    assert cached(titles, w)[:2] == ["second", "second"]
    assert hits_again(w, titles)[:2] == ["second", "second"]
    assert cached(one, w) == "second"


@away
def test_an_outage_in_the_middle_of_a_transaction_does_not_hurt_it(world, fresh_redis, outage):
    w = world
    warm(titles, w)
    with transaction.atomic(w.alias):
        rename(w, "first")
        with outage(fresh_redis):
            assert cached(titles, w)[0] == "first"
            rename(w, "second")
    assert cached(titles, w)[0] == "second"
    assert elsewhere(cached, titles, w)[0] == "second"
    assert hits_again(w, titles)[0] == "second"


def test_a_server_that_goes_between_the_marks_and_the_release(world, fresh_redis, monkeypatch):
    w = world
    warm(titles, w)
    commit = w.connection._commit

    def commit_and_lose_the_server():
        commit()
        fresh_redis.kill()

    with monkeypatch.context() as patched, transaction.atomic(w.alias):
        rename(w)
        patched.setattr(w.connection, "_commit", commit_and_lose_the_server)
    monkeypatch.undo()
    assert cached(titles, w)[0] == "changed"
    fresh_redis.start()
    assert hits_again(w, titles)[0] == "changed"


def test_a_server_that_is_flushed_between_the_marks_and_the_release(
    world, fresh_redis, monkeypatch
):
    """Who reads in between finds no mark, and the entry's old token would be minted anew."""
    w = world
    warm(titles, w)
    commit, seen = w.connection._commit, []

    def flush_and_commit():
        fresh_redis.ask("FLUSHALL")
        seen.append(elsewhere(cached, titles, w)[0])
        commit()
        seen.append(elsewhere(cached, titles, w)[0])

    with monkeypatch.context() as patched, transaction.atomic(w.alias):
        rename(w)
        patched.setattr(w.connection, "_commit", flush_and_commit)
    monkeypatch.undo()
    assert seen == ["one", "changed"]
    assert cached(titles, w)[0] == elsewhere(cached, titles, w)[0] == "changed"
    assert hits_again(w, titles)[0] == "changed"


def test_the_outbox_holds_what_was_committed_and_is_drained(world, fresh_redis):
    w = world
    warm(titles, w)
    with stopped(fresh_redis):
        rename(w)
        with transaction.atomic(w.alias):
            rename(w, "again")
        assert outbox(w) == 2
        with pytest.raises(ZeroDivisionError), transaction.atomic(w.alias):
            rename(w, 1 / 0)
        assert outbox(w) == 2
    hits_again(w, titles)
    assert outbox(w) == 0


def test_another_process_that_was_in_debt_reads_the_outbox_first(world, fresh_redis):
    """One process commits during the outage and dies; the other finds its tags in the database."""
    w = world
    warm(titles, w)
    with stopped(fresh_redis):
        cached(titles, w)  # this one notices
        # What the other process leaves behind: its commit, and the tags of it.
        with transaction.atomic(w.alias):
            _behind_our_back(w)
            OutboxEntry.objects.using(w.alias).create(tags=_tags_of(w))
    assert hits_again(w, titles)[0] == "theirs"
    assert outbox(w) == 0


def _tags_of(w):
    import json

    from django_layercache.querysets.connections import state_of
    from django_layercache.querysets.writes import tags_of_rows

    return json.dumps([*tags_of_rows(state_of(w.connection).database, "testapp_post", None)])


def _behind_our_back(w):
    with w.connection.connection.cursor() if w.alias == "postgres" else _cursor(w) as cursor:
        cursor.execute("UPDATE testapp_post SET title = 'theirs' WHERE title = 'one'")


@contextmanager
def _cursor(w):
    yield w.connection.connection.cursor()


@away
def test_where_outages_refuse_writes_nothing_is_committed(alias, fresh_redis, settings, outage):
    use(fresh_redis, settings, ON_OUTAGE="refuse")
    w = World(alias)
    warm(titles, w)
    with outage(fresh_redis):
        with bounded(), pytest.raises(WriteRefused):
            rename(w, "in autocommit")
        with bounded(), pytest.raises(DatabaseError), transaction.atomic(w.alias):
            rename(w, "in a transaction")
        with pytest.raises(WriteRefused):
            w.execute("UPDATE testapp_post SET title = 'in SQL'")
        assert cached(titles, w)[0] == uncached(titles, w)[0] == "one"
        assert not w.connection.in_atomic_block
        assert outbox(w) == 0
    assert hits_again(w, titles)[0] == "one"
    rename(w)
    assert cached(titles, w)[0] == "changed"


def test_a_refused_commit_by_hand_can_be_rolled_back(alias, fresh_redis, settings):
    use(fresh_redis, settings, ON_OUTAGE="refuse")
    w = World(alias)
    w.connection.set_autocommit(False)
    with stopped(fresh_redis):
        rename(w)
        with pytest.raises(WriteRefused):
            w.connection.commit()
        w.connection.rollback()
        w.connection.set_autocommit(True)
    assert uncached(titles, w)[0] == "one"


def test_a_server_that_is_out_of_memory_is_one_that_is_away(world, fresh_redis):
    w = world
    warm(titles, w)
    client = get_engine().store.client
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    rename(w)
    assert cached(titles, w)[0] == "changed"
    client.config_set("maxmemory", "0")
    assert hits_again(w, titles)[0] == "changed"


def test_a_flushed_server_is_one_that_has_lost_everything(world):
    w = world
    warm(titles, w)
    get_engine().store.client.flushall()
    rename(w)
    assert cached(titles, w)[0] == "changed"
    assert "hit" not in outcomes(one, w)
    assert hits_again(w, titles)[0] == "changed"


@SQLITE.marks[0]
def test_one_database_that_is_away_does_not_keep_the_others_from_being_cached(
    fresh_redis, settings, monkeypatch
):
    from django_layercache.querysets.outbox import DatabaseOutbox

    drain = DatabaseOutbox._drain_one

    def fail_for_one(self, alias, touch):
        if alias != "default":
            raise DatabaseError("the server is gone")
        drain(self, alias, touch)

    monkeypatch.setattr(DatabaseOutbox, "_drain_one", fail_for_one)
    use(fresh_redis, settings)
    w = World("default")
    with stopped(fresh_redis):
        rename(w)
    assert hits_again(w, titles)[0] == "changed"


# -- snapshots -------------------------------------------------------------------------------------
@POSTGRES.marks[0]
def test_a_snapshot_that_began_while_the_store_was_away_is_answered_from_no_other(
    fresh_redis, settings
):
    use(fresh_redis, settings)
    w = World("postgres")
    with transaction.atomic("postgres"):
        w.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with gone(fresh_redis):
            uncached(one, w)
        elsewhere(rename, w)
        assert elsewhere(hits_again, w, titles)[0] == "changed"
        assert cached(titles, w)[0] == uncached(titles, w)[0] == "one"
        assert cached(one, w) == "one"
    assert cached(titles, w)[0] == cached(one, w) == "changed"
