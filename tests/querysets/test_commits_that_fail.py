"""COMMIT fails, or nobody knows whether it has: what follows is right, and nothing stays pending for ever."""

import threading
from contextlib import contextmanager, suppress

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connections, transaction

from tests.querysets.conftest import POSTGRES, use_store
from tests.querysets.test_transactions import is_hit_elsewhere, rename, terminate, titles
from tests.querysets.world import (
    World,
    cached,
    elsewhere,
    is_hit,
    manual_commits,
    outcomes,
    uncached,
    warm,
)
from tests.services import wait_for


def rename_wrongly(w):
    """And let something refer to nothing, which is found out at COMMIT."""
    rename(w, "never")
    w.all().filter(pk=w.two.pk).update(author_id=10**6)


def assert_all_is_well(w):
    assert cached(titles, w)[0] == elsewhere(cached, titles, w)[0] == "one"
    assert is_hit(titles, w)
    rename(w)
    assert elsewhere(cached, titles, w)[0] == cached(titles, w)[0] == "changed"
    assert is_hit_elsewhere(titles, w)


def test_a_commit_by_hand_that_fails_leaves_nothing_pending(world):
    warm(titles, world)
    with manual_commits(world.connection):
        rename_wrongly(world)
        with pytest.raises(IntegrityError):
            world.connection.commit()
    assert_all_is_well(world)


def test_a_commit_in_sql_that_fails_is_the_end_of_its_transaction_if_the_database_says_so(world):
    warm(titles, world)
    world.execute("BEGIN")
    rename_wrongly(world)
    with pytest.raises(IntegrityError):
        world.execute("COMMIT")
    if world.connection.vendor == "sqlite":
        world.execute("ROLLBACK")
    assert_all_is_well(world)


def test_a_hook_that_fails_leaves_nothing_pending(world):
    def fail():
        raise ZeroDivisionError

    warm(titles, world)
    with pytest.raises(ZeroDivisionError), transaction.atomic(world.alias):  # noqa: PT012
        rename(world)
        transaction.on_commit(fail, using=world.alias)
    assert cached(titles, world)[0] == "changed"
    assert is_hit_elsewhere(titles, world)


# -- a server that hangs up at COMMIT --------------------------------------------------------------
@contextmanager
def slow_commits(w):
    """COMMIT waits for a lock that somebody else holds."""
    w.execute("""
        CREATE FUNCTION testapp_wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER testapp_wait AFTER UPDATE ON testapp_post
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION testapp_wait();
        SELECT pg_advisory_lock(77)
    """)
    try:
        yield
    finally:
        w.execute("SELECT pg_advisory_unlock_all()")
        w.execute("DROP FUNCTION testapp_wait CASCADE")


def waiting(w):
    """The processes of the server that wait for the lock."""
    with w.connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return [pid for (pid,) in cursor.fetchall()]


@POSTGRES.marks[0]
def test_a_server_that_hangs_up_at_commit_leaves_it_pending_for_a_lease(request, settings):
    use_store(request, settings, "redis", LEASE=1)
    w = World("postgres")
    warm(titles, w)

    def write():
        with suppress(OperationalError, InterfaceError), transaction.atomic("postgres"):
            rename(w, "never")
        connections.close_all()

    with slow_commits(w):
        writer = threading.Thread(target=write)
        writer.start()
        wait_for(lambda: waiting(w))
        assert outcomes(titles, w) == ["bypass"]
        for pid in waiting(w):
            terminate(w, pid)
        writer.join(10)
        assert cached(titles, w) == uncached(titles, w)
    wait_for(lambda: is_hit(titles, w))
    assert_all_is_well(w)
