"""Replicas: hits are theirs like everybody's; what they answer is stored once they have replayed enough."""

import shutil
import time
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import cached as cached_function
from django_layercache import trace
from django_layercache.querysets import reads
from tests.querysets.conftest import POSTGRES, on, use_store
from tests.querysets.test_transactions import rename, titles
from tests.querysets.world import World, cached, elsewhere, is_hit, outcomes, uncached, warm

pytestmark = POSTGRES.marks[0]


@pytest.fixture
def world(request, settings, postgres_replica):
    use_store(request, settings, "redis", DATABASES={"replica": {"replica_of": "postgres"}})
    with alias("replica", "postgres", PORT=str(postgres_replica.port)):
        world = World("postgres")
        catch_up(world)
        yield world
        resume()


@contextmanager
def alias(name, like, **changed):
    connections.databases[name] = {**connections.databases[like], **changed}
    # Test cases forbid what they have not been told of when they began.
    with patch.object(BaseDatabaseWrapper, "ensure_connection", reads._ENSURE_CONNECTION):
        try:
            yield
        finally:
            connections[name].close()
            del connections[name], connections.databases[name]


class Through(World):
    """A world as it is read through another alias."""

    def __init__(self, world, alias):
        self.__dict__.update(world.__dict__, alias=alias)


@pytest.fixture
def replica(world):
    return Through(world, "replica")


def ask(alias, question):
    with connections[alias].cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def pause():
    ask("replica", "SELECT pg_wal_replay_pause()")
    wait_until(
        lambda: ask("replica", "SELECT pg_get_wal_replay_pause_state()") == "paused", "pauses"
    )


def resume():
    ask("replica", "SELECT pg_wal_replay_resume()")


def catch_up(world):
    with transaction.atomic(world.alias):  # its COMMIT waits for the log, as ours do not
        world.execute("SET LOCAL synchronous_commit = on")
        world.execute("SELECT pg_logical_emit_message(true, 'tests', '')")
    written = ask("postgres", "SELECT pg_current_wal_flush_lsn()::text")
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
    wait_until(lambda: ask("replica", replayed), "catches up")


def soon_warm(read, replica):
    """:func:`warm`, once the replica has replayed what there is."""
    wait_until(lambda: is_hit(read, replica), "is trusted")
    return warm(read, replica)


def wait_until(condition, what, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the replica never {what}"
        time.sleep(0.01)


# -- hits ------------------------------------------------------------------------------------------
def test_what_is_said_to_be_a_replica_and_is_none_is_the_reason_why_nothing_is_stored(
    request, settings
):
    use_store(request, settings, "redis", DATABASES={"mistaken": {"replica_of": "postgres"}})
    world = World("postgres")
    with alias("mistaken", "postgres", HOST="localhost"), trace() as events:
        cached(titles, Through(world, "mistaken"))
    assert events[-1].reason.endswith("PostgreSQL says is none")


def test_a_replica_and_its_primary_share_entries(world, replica):
    warm(titles, world)
    assert is_hit(titles, replica)
    rename(world)
    catch_up(world)
    assert soon_warm(titles, replica)[0] == "changed"
    assert is_hit(titles, world)


def test_a_replica_that_lags_gets_hits_on_what_its_primary_has_stored(world, replica):
    pause()
    rename(world)
    assert warm(titles, world)[0] == "changed"
    assert uncached(titles, replica)[0] == "one"
    assert is_hit(titles, replica)
    assert cached(titles, replica)[0] == "changed"


# -- stores ----------------------------------------------------------------------------------------
def test_what_a_replica_answers_before_it_has_replayed_a_commit_is_not_stored(world, replica):
    soon_warm(titles, replica)
    pause()
    rename(world)
    for _ in range(2):
        assert cached(titles, replica)[0] == "one"
        assert not is_hit(titles, replica)
    resume()
    catch_up(world)
    assert soon_warm(titles, replica)[0] == "changed"
    assert is_hit(titles, world)


def test_nor_is_anything_that_contains_it(world, replica):
    @cached_function(timeout=60)
    def first():
        return titles(replica)[0]

    @cached_function(timeout=60)
    def first_of_raw_rows():
        return ask("replica", "SELECT title FROM testapp_post ORDER BY id")

    def look():
        with trace() as events:
            found = first(), first_of_raw_rows()
        return found, {event.outcome for event in events if event.layer == "functions"}

    wait_until(lambda: look() == (("one", "one"), {"hit"}), "is trusted")
    pause()
    rename(world)
    for _ in range(2):
        assert look() == (("one", "one"), {"miss"})
    resume()
    catch_up(world)
    wait_until(lambda: look() == (("changed", "changed"), {"hit"}), "is trusted")


def test_a_quiet_primary_that_begins_a_new_segment_of_its_log_keeps_nobody_waiting(world, replica):
    world.execute("SELECT pg_switch_wal()")
    catch_up_with_segment = "SELECT pg_last_wal_replay_lsn() - '0/0'"
    wait_until(lambda: ask("replica", catch_up_with_segment) % 2**24 == 0, "gets the new segment")
    soon_warm(titles, replica)


def test_nothing_is_stored_while_the_primary_cannot_be_asked(world, replica, caplog):
    connections["postgres"].close()
    told = connections["postgres"].settings_dict
    user, told["USER"] = told["USER"], "nobody"
    try:
        assert cached(titles, replica)[0] == "one"
        assert outcomes(titles, replica) == ["miss"]
        assert len([said for said in caplog.messages if "'replica' has replayed" in said]) == 1
    finally:
        told["USER"] = user
    soon_warm(titles, replica)


def test_a_connection_asks_once_for_what_has_not_changed_since(world, replica):
    soon_warm(titles, replica)
    connections["postgres"].close()
    warm(lambda w: w.all().filter(title="two").count(), replica)
    assert connections["postgres"].connection is None


# -- transactions ----------------------------------------------------------------------------------
def test_a_transaction_on_a_replica_stores_what_has_been_replayed(world, replica):
    rename(world)
    catch_up(world)
    with transaction.atomic("replica"):
        assert soon_warm(titles, replica)[0] == "changed"


def test_a_snapshot_of_a_replica_is_of_no_known_time(world, replica):
    warm(titles, world)
    pause()
    rename(world)
    with transaction.atomic("replica"):
        with connections["replica"].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert cached(titles, replica)[0] == "one"
        resume()
        elsewhere(warm, titles, world)
        assert cached(titles, replica)[0] == "one"
    assert cached(titles, replica)[0] == "changed"


# -- by age ----------------------------------------------------------------------------------------
@pytest.fixture
def lagging(settings, local_store):
    """A replica that nobody can ask: a copy of a file."""

    def begin(max_lag):
        world = World("default")
        shutil.copy(connections["default"].settings_dict["NAME"], copy_of("default"))
        settings.LAYERCACHE = {"DATABASES": {"copy": {"replica_of": "default", "max_lag": max_lag}}}
        return world

    copy_of = lambda alias: f"{connections[alias].settings_dict['NAME']}.copy"  # noqa: E731
    with alias("copy", "default", NAME=copy_of("default")):
        yield begin


@on("default")
def test_without_a_position_nothing_is_stored_that_has_changed_within_the_lag(lagging):
    world = lagging(max_lag=60)
    copy = Through(world, "copy")
    rename(world)
    assert cached(titles, copy)[0] == "one"
    assert outcomes(titles, copy) == ["miss"]
    assert warm(titles, world)[0] == "changed"
    assert is_hit(titles, copy)


@on("default")
def test_what_has_not_changed_for_longer_than_the_lag_is_stored(lagging):
    world = lagging(max_lag=0.2)
    copy = Through(world, "copy")
    assert outcomes(titles, copy) == ["miss"]
    assert not is_hit(titles, copy)
    wait_until(lambda: is_hit(titles, copy), "is trusted")
    rename(world)
    assert outcomes(titles, copy) == ["miss"]
    assert outcomes(titles, copy) == ["miss"]
