"""SERIALIZABLE on PostgreSQL: the database has to see what such a transaction reads."""

from contextlib import contextmanager

import psycopg
import pytest
from django.db import OperationalError, transaction

from django_layercache import cached as cached_function
from django_layercache import depends_on, trace
from tests.querysets.conftest import POSTGRES, use_store
from tests.querysets.test_transactions import is_hit_elsewhere, one, rename, titles
from tests.querysets.world import World, cached, elsewhere, is_hit, outcomes, uncached, warm
from tests.testapp.models import Author

pytestmark = POSTGRES.marks[0]

SAFE = "SERIALIZABLE READ ONLY DEFERRABLE"
HITS = {"DATABASES": {"postgres": {"serializable_hits": True}}}


@pytest.fixture
def world(request, settings):
    use_store(request, settings, "redis")
    return World("postgres")


@contextmanager
def serializable(w, mode="SERIALIZABLE"):
    with transaction.atomic(w.alias):
        w.execute(f"SET TRANSACTION ISOLATION LEVEL {mode}")
        yield


def reasons(read, w):
    with trace() as events:
        cached(read, w)
    return [event.reason for event in events]


def test_it_reads_for_itself(world):
    warm(titles, world)
    with serializable(world):
        assert reasons(titles, world) == ["a serializable transaction reads for itself"]
        assert outcomes(titles, world) == ["bypass"]
    assert is_hit(titles, world)


def test_what_it_reads_is_stored(world):
    warm(titles, world)
    rename(world)
    with serializable(world):
        assert outcomes(titles, world) == ["miss"]
        assert is_hit_elsewhere(titles, world)
        assert outcomes(titles, world) == ["bypass"]
    assert is_hit(titles, world)
    assert cached(titles, world)[0] == "changed"


@pytest.mark.parametrize("more", ({}, HITS))
def test_what_it_reads_after_a_commit_is_not_stored(world, request, settings, more):
    use_store(request, settings, "redis", **more)
    warm(titles, world)
    with serializable(world):
        world.all(Author).count()  # takes the snapshot
        elsewhere(rename, world)
        assert cached(titles, world)[0] == "one"
        assert elsewhere(cached, titles, world)[0] == "changed"
        assert cached(one, world) == "one"
    assert cached(titles, world)[0] == cached(one, world) == "changed"


def test_what_is_built_of_what_it_reads_is_stored_too(world):
    @cached_function
    def first():
        return one(world)

    assert first() == "one"
    rename(world)
    with serializable(world), trace() as events:
        assert first() == "changed"
    assert [event.outcome for event in events if event.layer == "functions"] == ["miss"]
    with serializable(world), trace() as events:
        assert first() == "changed"
    assert [event.outcome for event in events if event.layer == "functions"] == ["bypass"]


def test_what_has_nothing_to_do_with_the_database_is_answered(world):
    @cached_function
    def weather():
        depends_on("weather")
        return "fine"

    weather()
    with serializable(world), trace() as events:
        world.all(Author).count()
        weather()
    assert [event.outcome for event in events] == ["hit"]


def change_what_the_other_reads(w):
    """Two transactions: each reads both titles, and changes the one that the other does not."""

    def change_the_second():
        with serializable(w):
            cached(titles, w)
            w.all().filter(pk=w.two.pk).update(title="second")

    with serializable(w):
        cached(titles, w)
        elsewhere(change_the_second)
        w.all().filter(pk=w.one.pk).update(title="first")


def test_two_that_could_not_have_run_one_after_the_other_do_not_both_commit(world):
    warm(titles, world)
    with pytest.raises(OperationalError, match="serialize"):
        change_what_the_other_reads(world)
    assert cached(titles, world) == uncached(titles, world) == ["one", "second", "three"]


def test_with_hits_they_do(world, request, settings):
    """What ``serializable_hits`` gives up."""
    use_store(request, settings, "redis", **HITS)
    warm(titles, world)
    change_what_the_other_reads(world)
    assert cached(titles, world) == uncached(titles, world) == ["first", "second", "three"]


# -- where it is answered --------------------------------------------------------------------------
@pytest.mark.parametrize(("mode", "more"), (("SERIALIZABLE", HITS), (SAFE, {})))
def test_it_is_answered_from_its_snapshot(world, request, settings, mode, more):
    use_store(request, settings, "redis", **more)
    warm(titles, world)
    with serializable(world, mode):
        assert is_hit(titles, world)  # takes the snapshot
        elsewhere(rename, world)
        elsewhere(warm, titles, world)
        assert cached(titles, world)[0] == cached(one, world) == uncached(one, world) == "one"
    assert cached(titles, world)[0] == "changed"


def test_a_safe_snapshot_is_known_however_it_was_asked_for(world):
    warm(titles, world)
    world.execute(f"BEGIN ISOLATION LEVEL {SAFE}")
    assert is_hit(titles, world)
    world.execute("COMMIT")
    world.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {SAFE}")
    with transaction.atomic("postgres"):
        assert is_hit(titles, world)
    with transaction.atomic("postgres"):
        world.execute("SET TRANSACTION READ WRITE")
        assert outcomes(titles, world) == ["bypass"]
    world.connection.close()
    world.connection.ensure_connection()
    driver = world.connection.connection
    driver.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    with transaction.atomic("postgres"):
        assert outcomes(titles, world) == ["bypass"]
    driver.read_only = driver.deferrable = True
    with transaction.atomic("postgres"):
        assert is_hit(titles, world)
    world.connection.close()


def test_a_transaction_that_says_too_late_that_it_only_reads_has_no_safe_snapshot(world):
    warm(titles, world)
    with serializable(world, "SERIALIZABLE DEFERRABLE"):
        world.all(Author).count()
        world.execute("SET TRANSACTION READ ONLY")
        assert outcomes(titles, world) == ["bypass"]
