"""Commits in two phases: in SQL and by psycopg's methods, by anybody, with crashes in between."""

import os
import subprocess
import sys
from contextlib import contextmanager, suppress

import psycopg
import pytest

from django_layercache.exceptions import WriteRefused
from django_layercache.models import OutboxEntry
from tests.querysets.conftest import POSTGRES, use_store
from tests.querysets.test_outages import gone, hits_again, use
from tests.querysets.test_transactions import is_hit_elsewhere, rename, titles
from tests.querysets.world import World, cached, elsewhere, is_hit, outcomes, uncached, warm
from tests.services import wait_for
from tests.testapp.models import Author, Tag

pytestmark = POSTGRES.marks[0]


@pytest.fixture
def world(request, settings):
    use_store(request, settings, "redis")
    return World("postgres")


def authors(w):
    return list(w.all(Author).order_by("pk").values_list("name", flat=True))


def finish(w, how):
    w.execute(f"{how} PREPARED 'renamed'")


@contextmanager
def ended(w):
    """Whatever happens, nothing stays prepared."""
    try:
        yield
    finally:
        w.connection.close()
        with suppress(Exception):
            finish(w, "ROLLBACK")


@contextmanager
def prepared(w):
    """A transaction that has renamed a post and waits for its second phase."""
    with ended(w):
        w.execute("BEGIN")
        rename(w)
        w.execute("PREPARE TRANSACTION 'renamed'")
        yield


@contextmanager
def prepared_by_the_driver(w):
    """The same by psycopg's methods, which this returns."""
    with ended(w):
        w.connection.set_autocommit(False)
        driver = w.connection.connection
        assert isinstance(driver, psycopg.Connection)
        driver.tpc_begin("renamed")
        rename(w)
        driver.tpc_prepare()
        yield driver


def as_anybody_else(w, sql):
    """Run *sql* on a connection that is none of Django's."""
    said = w.connection.settings_dict
    with psycopg.connect(
        host=said["HOST"], port=said["PORT"], user=said["USER"], dbname=said["NAME"]
    ) as connection:
        connection.autocommit = True
        connection.execute(sql)


# -- in SQL ----------------------------------------------------------------------------------------
def test_a_prepared_transaction_is_not_seen_before_its_second_phase(world):
    warm(titles, world)
    with prepared(world):
        assert is_hit(titles, world)
        assert is_hit_elsewhere(titles, world)
        assert cached(titles, world)[0] == "one"
        finish(world, "COMMIT")
        assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "changed"


def test_the_second_phase_may_be_anybodys(world):
    warm(titles, world)
    with prepared(world):
        elsewhere(finish, world, "COMMIT")
        assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "changed"


def test_a_prepared_transaction_that_is_rolled_back_changes_nothing(world):
    warm(titles, world)
    with prepared(world):
        finish(world, "ROLLBACK")
        assert cached(titles, world)[0] == elsewhere(cached, titles, world)[0] == "one"
        assert is_hit(titles, world)


def test_a_transaction_that_has_failed_cannot_be_prepared_and_changes_nothing(world):
    warm(titles, world)
    world.execute("BEGIN")
    rename(world)
    with suppress(Exception):
        world.new(Tag, name="red")
    world.execute("PREPARE TRANSACTION 'renamed'")
    assert is_hit(titles, world)
    rename(world)
    assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "changed"


# -- by psycopg ------------------------------------------------------------------------------------
def test_the_drivers_second_phase_is_seen_when_it_returns(world):
    warm(titles, world), warm(authors, world)
    with prepared_by_the_driver(world) as driver:
        assert is_hit_elsewhere(titles, world)
        driver.tpc_commit()
        assert elsewhere(cached, titles, world)[0] == "changed"
        assert is_hit_elsewhere(authors, world)
        world.connection.set_autocommit(True)
        assert cached(titles, world)[0] == "changed"


def test_the_drivers_only_phase_is_seen_when_it_returns(world):
    warm(titles, world)
    with ended(world):
        world.connection.set_autocommit(False)
        world.connection.connection.tpc_begin("renamed")
        rename(world)
        world.connection.connection.tpc_commit()
        assert elsewhere(cached, titles, world)[0] == "changed"


def test_what_the_driver_takes_back_has_changed_nothing(world):
    warm(titles, world)
    with prepared_by_the_driver(world) as driver:
        driver.tpc_rollback()
        world.connection.set_autocommit(True)
        assert is_hit(titles, world)
        assert cached(titles, world)[0] == "one"


def test_the_driver_may_finish_what_others_have_begun(world):
    warm(titles, world)
    with prepared(world):

        def finish_it(w):
            w.connection.set_autocommit(False)
            (xid,) = w.connection.connection.tpc_recover()
            w.connection.connection.tpc_commit(xid)
            assert elsewhere(cached, titles, w)[0] == "changed"

        elsewhere(finish_it, world)
        assert cached(titles, world)[0] == "changed"


def test_a_reader_during_the_second_phase_does_not_store(world):
    warm(titles, world)

    def look(run):
        def run_and_look(*args):
            assert elsewhere(outcomes, titles, world) == ["bypass"]
            result = run(*args)
            assert elsewhere(outcomes, titles, world) == ["bypass"]
            return result

        return run_and_look

    with prepared_by_the_driver(world) as driver:
        driver.wait = look(driver.wait)
        driver.tpc_commit()
        del driver.wait
        assert elsewhere(cached, titles, world)[0] == "changed"


# -- without a second phase that anybody here sees -------------------------------------------------
def test_a_second_phase_outside_of_django_is_noticed(world):
    warm(titles, world)
    with prepared(world):
        as_anybody_else(world, "COMMIT PREPARED 'renamed'")
        wait_for(lambda: cached(titles, world)[0] == "changed")
        assert not OutboxEntry.objects.using("postgres").exists()


DYING = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
from django.conf import settings
settings.LAYERCACHE = {"CACHE": "redis", "GRACE": 0}
settings.DATABASES["postgres"]["NAME"] = %r
django.setup()
from django.db import connections
from tests.testapp.models import Post
connections["postgres"].set_autocommit(False)
driver = connections["postgres"].connection
driver.tpc_begin("renamed")
Post.objects.using("postgres").filter(title="one").update(title="changed")
driver.tpc_prepare()
os._exit(0)
"""


def test_a_process_that_dies_between_the_phases_leaves_nothing_stale(world):
    warm(titles, world)
    with ended(world):
        subprocess.run(
            [sys.executable, "-c", DYING % world.connection.settings_dict["NAME"]],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert is_hit(titles, world)
        world.connection.set_autocommit(False)
        (xid,) = world.connection.connection.tpc_recover()
        world.connection.connection.rollback()
        world.connection.connection.tpc_commit(xid)
        assert elsewhere(cached, titles, world)[0] == "changed"


# -- without a store -------------------------------------------------------------------------------
def test_a_second_phase_while_the_store_is_away_leaves_nothing_stale(fresh_redis, settings):
    use(fresh_redis, settings)
    w = World("postgres")
    warm(titles, w)
    with prepared_by_the_driver(w) as driver:
        with gone(fresh_redis):
            driver.tpc_commit()
            assert elsewhere(cached, titles, w)[0] == "changed"
        assert elsewhere(hits_again, w, titles)[0] == "changed"


def test_a_second_phase_may_be_refused_and_tried_again(fresh_redis, settings):
    use(fresh_redis, settings, ON_OUTAGE="refuse")
    w = World("postgres")
    with prepared_by_the_driver(w) as driver:
        with gone(fresh_redis), pytest.raises(WriteRefused):
            driver.tpc_commit()
        elsewhere(hits_again, w, titles)
        driver.tpc_commit()
        assert elsewhere(cached, titles, w)[0] == elsewhere(uncached, titles, w)[0] == "changed"
