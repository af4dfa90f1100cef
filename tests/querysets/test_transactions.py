"""Transactions of every kind: what they change is seen from COMMIT on, and what they do not commit never is."""

import time
from contextlib import contextmanager, suppress

import psycopg
import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connections, transaction

from django_layercache import cached_queries, invalidate, no_cache, trace
from tests.querysets.conftest import POSTGRES, on, use_store
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
from tests.testapp.models import Author, Post, Tag


class Undo(Exception):
    """Rolls back."""


def titles(w):
    return list(w.all().order_by("pk").values_list("title", flat=True))


def one(w):
    return w.all().filter(pk=w.one.pk).values_list("title", flat=True)[0]


def rename(w, title="changed"):
    w.all().filter(pk=w.one.pk).update(title=title)


def is_hit_elsewhere(read, w):
    return elsewhere(is_hit, read, w)


@contextmanager
def around_statements(connection, matching, *, before=None, after=None):
    """Run *before* and *after* around the one statement on *connection* that contains *matching*."""

    def wrapper(execute, sql, params, many, context):
        if matching not in str(sql):
            return execute(sql, params, many, context)
        if before:
            before()
        result = execute(sql, params, many, context)
        if after:
            after()
        return result

    with connection.execute_wrapper(wrapper):
        yield


# -- COMMIT ----------------------------------------------------------------------------------------
def test_a_transaction_sees_its_own_writes_and_nobody_else_does(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        rename(world)
        assert cached(titles, world)[0] == cached(one, world) == "changed"
        assert outcomes(titles, world) == ["bypass"]
        assert elsewhere(cached, titles, world)[0] == "one"
    assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "changed"


def test_entries_stay_usable_for_others_until_the_commit(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        rename(world)
        assert is_hit_elsewhere(titles, world)


def test_what_a_transaction_read_after_its_own_write_is_not_stored(world):
    with suppress(Undo), transaction.atomic(world.alias):
        rename(world)
        assert cached(titles, world)[0] == "changed"
        raise Undo
    assert cached(titles, world)[0] == elsewhere(cached, titles, world)[0] == "one"


def test_a_user_hook_on_commit_reads_what_was_committed_and_so_does_its_task(world):
    warm(titles, world)
    seen = []
    with transaction.atomic(world.alias):
        transaction.on_commit(
            lambda: seen.extend([cached(titles, world)[0], elsewhere(cached, titles, world)[0]]),
            using=world.alias,
        )
        transaction.on_commit(lambda: seen.append(is_hit(titles, world)), using=world.alias)
        rename(world)
    assert seen == ["changed", "changed", True]


def test_nothing_is_released_by_an_inner_transaction(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        with transaction.atomic(world.alias):
            rename(world)
        assert is_hit_elsewhere(titles, world)
        assert cached(titles, world)[0] == "changed"
    assert cached(titles, world)[0] == "changed"


def test_a_transaction_without_a_write_invalidates_nothing(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        cached(titles, world)
        uncached = world.all().count()
    assert uncached == 3
    assert is_hit(titles, world)


def test_a_reader_between_the_marks_and_the_commit_does_not_store(world, monkeypatch):
    seen = []
    commit = world.connection._commit

    def slow_commit():
        seen.append((elsewhere(cached, titles, world)[0], elsewhere(outcomes, titles, world)))
        commit()
        seen.append((elsewhere(cached, titles, world)[0], elsewhere(outcomes, titles, world)))

    warm(titles, world)
    with transaction.atomic(world.alias):
        rename(world)
        monkeypatch.setattr(world.connection, "_commit", slow_commit)
    assert seen == [("one", ["bypass"]), ("changed", ["bypass"])]
    monkeypatch.undo()
    assert warm(titles, world)[0] == "changed"


def test_a_write_in_autocommit_is_marked_before_and_released_after_its_statement(world):
    seen = []

    def look():
        seen.append((elsewhere(cached, titles, world)[0], elsewhere(outcomes, titles, world)))

    warm(titles, world)
    with around_statements(world.connection, "UPDATE", before=look, after=look):
        world.all().filter(title="one").update(title="changed")
    assert seen == [("one", ["bypass"]), ("changed", ["bypass"])]
    assert warm(titles, world)[0] == "changed"


@POSTGRES.marks[0]
def test_what_was_read_before_a_commit_is_not_stored_as_fresh(on_postgres):
    w = on_postgres
    with around_statements(w.connection, "SELECT", after=lambda: elsewhere(rename, w)):
        assert cached(titles, w)[0] == "one"
    assert cached(titles, w)[0] == "changed"


def test_what_was_asked_for_before_a_commit_and_read_after_it_is_right(world):
    with around_statements(world.connection, "SELECT", before=lambda: elsewhere(rename, world)):
        assert cached(titles, world)[0] == "changed"
    assert cached(titles, world)[0] == "changed"


def test_the_first_thing_that_a_transaction_asks_for_is_answered(world):
    """As with ATOMIC_REQUESTS, on the connection of each request's own."""
    warm(titles, world)
    world.connection.close()
    with transaction.atomic(world.alias):
        assert is_hit(titles, world)
        with transaction.atomic(world.alias):
            assert is_hit(titles, world)
    with transaction.atomic(world.alias):
        assert is_hit(titles, world)


# -- ROLLBACK --------------------------------------------------------------------------------------
def test_a_rollback_changes_nothing(world):
    warm(titles, world)
    with suppress(Undo), transaction.atomic(world.alias):
        rename(world)
        raise Undo
    assert is_hit(titles, world)
    assert cached(titles, world)[0] == "one"


def test_a_rollback_to_a_savepoint_takes_back_what_was_read_too(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        with suppress(Undo), transaction.atomic(world.alias):
            rename(world)
            assert cached(titles, world)[0] == "changed"
            raise Undo
        assert cached(titles, world)[0] == "one"
        rename(world, "later")
    assert cached(titles, world)[0] == "later"


def test_what_was_rolled_back_to_a_savepoint_survives(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        with suppress(Undo), transaction.atomic(world.alias):
            rename(world)
            with transaction.atomic(world.alias):
                world.new(Tag, name="undone, too")
            raise Undo
        world.new(Tag, name="new")
    assert is_hit(titles, world)
    assert cached(titles, world)[0] == "one"


def test_what_was_changed_before_a_savepoint_stays_changed(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        rename(world, "before")
        with suppress(Undo), transaction.atomic(world.alias):
            rename(world)
            raise Undo
        assert cached(titles, world)[0] == "before"
    assert cached(titles, world)[0] == "before"


def test_what_a_savepoint_keeps_is_changed(world):
    warm(titles, world)
    with transaction.atomic(world.alias), transaction.atomic(world.alias):
        with suppress(Undo), transaction.atomic(world.alias):
            world.new(Tag, name="undone")
            raise Undo
        rename(world)
    assert cached(titles, world)[0] == "changed"


def test_a_row_inserted_and_rolled_back_to_a_savepoint_does_not_stand_in_the_way(world):
    def one(w):
        return w.all().get(pk=w.one.pk).title

    warm(one, world)
    with transaction.atomic(world.alias):
        with suppress(Undo), transaction.atomic(world.alias):
            world.new(Post, author=world.ada, title="undone")
            raise Undo
        assert is_hit(one, world)


def test_a_savepoint_can_be_returned_to_twice(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        sid = world.connection.savepoint()
        for title in ("once", "twice"):
            rename(world, title)
            assert cached(titles, world)[0] == title
            world.connection.savepoint_rollback(sid)
            assert cached(titles, world)[0] == "one"
        rename(world, "kept")
        world.connection.savepoint_commit(sid)
    assert cached(titles, world)[0] == "kept"


def test_a_savepoint_in_sql_is_safe_too(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        world.execute("SAVEPOINT one")
        rename(world)
        with transaction.atomic(world.alias):
            rename(world, "again")
        world.execute("ROLLBACK TO SAVEPOINT one")
        assert cached(titles, world)[0] == "one"
        rename(world, "later")
        assert cached(titles, world)[0] == "later"
    assert cached(titles, world)[0] == "later"


def test_a_rollback_by_hand_changes_nothing(world):
    warm(titles, world)
    with manual_commits(world.connection):
        rename(world)
        assert cached(titles, world)[0] == "changed"
        world.connection.rollback()
        assert cached(titles, world)[0] == "one"
        rename(world, "later")
        assert is_hit_elsewhere(titles, world)
        world.connection.commit()
        assert elsewhere(cached, titles, world)[0] == "later"
    assert cached(titles, world)[0] == "later"


def test_a_rollback_in_sql_changes_nothing(world):
    warm(titles, world)
    world.execute("BEGIN")
    world.execute("UPDATE testapp_post SET title = 'forgotten'")
    assert cached(titles, world)[0] == "forgotten"
    assert is_hit_elsewhere(titles, world)
    world.execute("ROLLBACK")
    assert is_hit(titles, world)
    assert cached(titles, world)[0] == "one"


def test_set_rollback_changes_nothing(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        rename(world)
        transaction.set_rollback(True, using=world.alias)
    assert cached(titles, world)[0] == "one"


# -- failures --------------------------------------------------------------------------------------
def test_a_statement_that_fails_in_autocommit_leaves_nothing_pending(world):
    read = lambda w: list(w.all(Tag).order_by("pk"))  # noqa: E731
    warm(read, world)
    with pytest.raises(IntegrityError):
        world.new(Tag, name="red")
    assert len(cached(read, world)) == 2
    assert is_hit(read, world)


def test_a_statement_that_fails_in_a_transaction_leaves_the_rest_right(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        rename(world)
        with suppress(IntegrityError), transaction.atomic(world.alias):
            world.new(Tag, name="red")
        assert cached(titles, world)[0] == "changed"
    assert warm(titles, world)[0] == "changed"


def test_a_constraint_that_fails_at_commit_leaves_nothing_pending(world):
    warm(titles, world)
    with pytest.raises(IntegrityError), transaction.atomic(world.alias):  # noqa: PT012
        rename(world)
        world.all().filter(pk=world.two.pk).update(author_id=10**6)
    assert cached(titles, world)[0] == "one"
    assert is_hit(titles, world)


def test_a_commit_that_fails_and_happened_all_the_same_is_seen(world, monkeypatch):
    commit = world.connection._commit

    def lose_the_answer():
        commit()
        raise OperationalError("the connection was lost before the server's answer came")

    warm(titles, world)
    monkeypatch.setattr(world.connection, "_commit", lose_the_answer)
    with pytest.raises(OperationalError), transaction.atomic(world.alias):
        rename(world)
    monkeypatch.undo()
    assert elsewhere(cached, titles, world)[0] == "changed"
    assert cached(titles, world)[0] == "changed"


def test_a_begin_that_fails_wedges_nothing(world, monkeypatch):
    def fail(*args):
        raise OperationalError("the server is gone")

    warm(titles, world)
    name = {"sqlite": "_start_transaction_under_autocommit"}.get(
        world.connection.vendor, "_set_autocommit"
    )
    monkeypatch.setattr(world.connection, name, fail)
    with pytest.raises(OperationalError), transaction.atomic(world.alias):
        rename(world)
    monkeypatch.undo()
    if not world.connection.in_atomic_block:
        world.connection.close()
    rename(world)
    assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "changed"
    with transaction.atomic(world.alias):
        rename(world, "again")
    assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "again"


def test_a_durable_block_that_is_refused_wedges_nothing(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        rename(world)
        with pytest.raises(RuntimeError), transaction.atomic(world.alias, durable=True):
            pass
    assert cached(titles, world)[0] == "changed"
    assert is_hit(titles, world)


def test_a_connection_closed_in_the_middle_takes_its_writes_along(world):
    warm(titles, world)
    with suppress(Exception), transaction.atomic(world.alias):
        rename(world)
        world.connection.close()
    assert cached(titles, world)[0] == elsewhere(cached, titles, world)[0] == "one"
    rename(world)
    assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "changed"


def test_a_connection_closed_after_begin_in_sql_is_in_no_transaction(world):
    warm(titles, world)
    world.execute("BEGIN")
    world.execute("UPDATE testapp_post SET title = 'forgotten'")
    world.connection.close()
    assert cached(titles, world)[0] == "one"
    rename(world)
    assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "changed"


def test_reading_in_a_broken_transaction_fails_as_it_does_without_a_cache(world):
    warm(titles, world)
    with suppress(IntegrityError), transaction.atomic(world.alias):
        with suppress(IntegrityError):
            world.new(Tag, name="red")  # not in a savepoint of its own
        world.connection.needs_rollback = True
        with pytest.raises(transaction.TransactionManagementError):
            cached(titles, world)


# -- several databases -----------------------------------------------------------------------------
@on("default", "other")
def test_two_databases_in_one_transaction_are_released_each_at_its_own_commit(local_store):
    here, there = World("default"), World("other")
    warm(titles, here), warm(titles, there)
    with transaction.atomic("default"):
        rename(here)
        with transaction.atomic("other"):
            rename(there)
            assert cached(titles, here)[0] == cached(titles, there)[0] == "changed"
        assert elsewhere(cached, titles, there)[0] == "changed"
        assert is_hit_elsewhere(titles, here)
    assert elsewhere(cached, titles, here)[0] == "changed"


@on("default", "other")
def test_a_write_to_one_database_leaves_the_other_alone(local_store):
    here, there = World("default"), World("other")
    warm(titles, here), warm(titles, there)
    rename(here)
    assert is_hit(titles, there)
    assert cached(titles, there)[0] == "one"


# -- by hand ---------------------------------------------------------------------------------------
def test_invalidate_in_a_transaction_takes_effect_at_its_commit(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        invalidate(Post, using=world.alias)
        assert is_hit_elsewhere(titles, world)
        assert outcomes(titles, world) == ["bypass"]
    assert outcomes(titles, world) == ["miss"]


def test_invalidate_in_a_transaction_that_rolls_back_has_no_effect(world):
    warm(titles, world)
    with suppress(Undo), transaction.atomic(world.alias):
        invalidate(Post, using=world.alias)
        raise Undo
    assert is_hit(titles, world)


# -- snapshots -------------------------------------------------------------------------------------
@contextmanager
def snapshot(connection, how, level="REPEATABLE READ"):
    """A transaction of *level*, opened in one of the ways in which that can be asked for."""
    with connection.cursor() as cursor:
        if how == "BEGIN":
            cursor.execute(f"BEGIN ISOLATION LEVEL {level}")
            yield
            cursor.execute("ROLLBACK")
        elif how == "SET TRANSACTION":
            with transaction.atomic(connection.alias):
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
                yield
        else:
            cursor.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")
            with transaction.atomic(connection.alias):
                yield
            connection.close()


ways = pytest.mark.parametrize("how", ("BEGIN", "SET TRANSACTION", "SET SESSION"))


@pytest.fixture
def on_postgres(request, settings):
    use_store(request, settings, "redis")
    return World("postgres")


@POSTGRES.marks[0]
@ways
@pytest.mark.parametrize("level", ("REPEATABLE READ", "SERIALIZABLE"))
def test_a_snapshot_reader_is_answered_from_its_snapshot(on_postgres, how, level):
    w = on_postgres
    warm(titles, w)
    with snapshot(w.connection, how, level):
        w.all(Author).count()  # takes the snapshot
        elsewhere(rename, w)
        elsewhere(warm, titles, w)
        assert cached(titles, w)[0] == cached(one, w) == "one"
    assert cached(titles, w)[0] == elsewhere(cached, titles, w)[0] == "changed"


@POSTGRES.marks[0]
@ways
def test_what_a_snapshot_reader_read_after_a_commit_is_not_stored(on_postgres, how):
    w = on_postgres
    with snapshot(w.connection, how):
        w.all(Author).count()
        elsewhere(rename, w)
        assert cached(titles, w)[0] == "one"
        assert elsewhere(cached, titles, w)[0] == "changed"
        assert cached(one, w) == "one"
    assert cached(titles, w)[0] == cached(one, w) == "changed"


@POSTGRES.marks[0]
@ways
def test_a_snapshot_reader_gets_hits_where_nothing_has_changed(on_postgres, how):
    w = on_postgres
    warm(titles, w)
    with snapshot(w.connection, how):
        w.all(Author).count()
        assert is_hit(titles, w)


@POSTGRES.marks[0]
@ways
def test_a_snapshot_reader_has_its_snapshot_when_it_is_first_answered(on_postgres, how):
    w = on_postgres
    warm(titles, w)
    with transaction.atomic("postgres"):
        w.all(Author).count()  # read committed, as far as anybody knows
    with snapshot(w.connection, how):
        assert cached(titles, w)[0] == "one"
        elsewhere(rename, w)
        elsewhere(warm, titles, w)
        assert uncached(one, w) == cached(one, w) == cached(titles, w)[0] == "one"
    assert cached(titles, w)[0] == "changed"


@contextmanager
def exported(w):
    """The name of a snapshot of now."""
    said = w.connection.settings_dict
    with psycopg.connect(
        host=said["HOST"], port=said["PORT"], user=said["USER"], dbname=said["NAME"]
    ) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        (name,) = connection.execute("SELECT pg_export_snapshot()").fetchone()
        yield name


@POSTGRES.marks[0]
def test_an_imported_snapshot_is_answered_from_no_other(on_postgres):
    w = on_postgres
    warm(titles, w)
    with exported(w) as name:
        elsewhere(rename, w)
        elsewhere(warm, titles, w)
        with transaction.atomic("postgres"):
            w.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            w.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
            assert cached(titles, w)[0] == uncached(titles, w)[0] == cached(one, w) == "one"
    assert cached(titles, w)[0] == cached(one, w) == "changed"


@POSTGRES.marks[0]
@pytest.mark.parametrize("ending", ("COMMIT AND CHAIN", "ROLLBACK AND CHAIN"))
def test_a_chained_transaction_is_one_of_its_own(on_postgres, ending):
    w = on_postgres
    warm(titles, w)
    w.execute("BEGIN")
    w.execute("UPDATE testapp_post SET title = 'first' WHERE title = 'one'")
    w.execute(ending)
    first = "first" if ending.startswith("COMMIT") else "one"
    assert elsewhere(cached, titles, w)[0] == first
    w.execute("UPDATE testapp_post SET title = 'second' WHERE id = %s", [w.one.pk])
    assert elsewhere(cached, titles, w)[0] == first
    w.execute("COMMIT")
    assert elsewhere(cached, titles, w)[0] == cached(titles, w)[0] == "second"


@on("default")
def test_a_reader_of_sqlites_snapshot_is_answered_from_it(local_store):
    w = World("default")
    w.execute("PRAGMA journal_mode = WAL")
    try:
        for title, before in (("changed", uncached), ("later", cached)):
            warm(titles, w)
            with transaction.atomic("default"):
                first = before(titles, w)[0]
                elsewhere(rename, w, title)
                elsewhere(warm, titles, w)
                assert cached(titles, w)[0] == cached(one, w) == uncached(one, w) == first
            assert cached(titles, w)[0] == cached(one, w) == title
    finally:
        connections["default"].close()
        w.execute("PRAGMA journal_mode = DELETE")


# -- a server that hangs up --------------------------------------------------------------------
def terminate(w, pid):
    w.execute("SELECT pg_terminate_backend(%s)", [pid])


@POSTGRES.marks[0]
def test_a_server_that_hangs_up_in_a_transaction_leaves_nothing_stale(request, settings):
    use_store(request, settings, "redis", LEASE=1)
    w = World("postgres")
    warm(titles, w)
    with w.connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with suppress(OperationalError, InterfaceError), transaction.atomic(w.alias):
        rename(w)
        elsewhere(terminate, w, pid)
        rename(w, "never")
    assert cached(titles, w)[0] == elsewhere(cached, titles, w)[0] == "one"
    rename(w)
    assert elsewhere(warm, titles, w)[0] == cached(titles, w)[0] == "changed"


@POSTGRES.marks[0]
def test_a_server_that_hangs_up_in_a_statement_leaves_it_pending_for_a_lease(request, settings):
    use_store(request, settings, "redis", LEASE=0.4)
    w = World("postgres")
    warm(titles, w)
    with w.connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    die = lambda: elsewhere(terminate, w, pid)  # noqa: E731
    with (
        pytest.raises(OperationalError),
        around_statements(w.connection, "UPDATE", before=die),
    ):
        w.all().filter(title="one").update(title="changed")
    w.connection.close()
    assert outcomes(titles, w) == ["bypass"]
    time.sleep(0.5)
    assert warm(titles, w)[0] == "one"


# -- nothing cached ----------------------------------------------------------------------------
def test_no_cache_inside_a_block_reads_the_database(world):
    with cached_queries(), no_cache(), trace() as events:
        titles(world)
    assert [event.outcome for event in events] == ["bypass"]
