"""Several statements at once, one of which ends the transaction that is open."""

from contextlib import contextmanager

import pytest
from django.db import DataError, transaction

from django_layercache.querysets.rawsql import effect_of
from tests.querysets.conftest import on
from tests.querysets.test_transactions import titles
from tests.querysets.world import World, cached, elsewhere, is_hit, manual_commits, uncached, warm

pytestmark = on("default", "postgres")


@pytest.fixture
def world(redis_store):
    return World("postgres")


@contextmanager
def begun_in_sql(w):
    w.execute("BEGIN")
    yield


@contextmanager
def without_autocommit(w):
    with manual_commits(w.connection):
        yield


def title(w):
    return elsewhere(cached, titles, w)[0]


UPDATE = "UPDATE testapp_post SET title = '{}' WHERE title <> 'x'"


@pytest.mark.parametrize("beginning", (begun_in_sql, without_autocommit))
@pytest.mark.parametrize("end", ("COMMIT", "/* now */ commit /* then */", "END; SELECT 1"))
def test_what_was_committed_in_the_middle_is_seen(world, beginning, end):
    warm(titles, world)
    with beginning(world):
        world.execute(UPDATE.format("first"))
        assert title(world) == "one"
        world.execute(f"{UPDATE.format('second')}; {end}")
        assert title(world) == "second"
        assert elsewhere(is_hit, titles, world)
    assert cached(titles, world)[0] == "second"


def test_what_is_begun_after_it_is_a_transaction_of_its_own(world):
    warm(titles, world)
    world.execute("BEGIN")
    world.execute(f"{UPDATE.format('first')}; COMMIT; BEGIN; {UPDATE.format('second')}")
    assert title(world) == "first"
    assert cached(titles, world)[0] == "second"
    world.execute("COMMIT")
    assert title(world) == cached(titles, world)[0] == "second"


def test_what_only_looks_like_an_end_is_none(world):
    warm(titles, world)
    with transaction.atomic("postgres"):
        world.execute(f"DO $$ BEGIN {UPDATE.format('done')}; END $$")
        assert cached(titles, world)[0] == "done"
        assert title(world) == "one"
    assert title(world) == cached(titles, world)[0] == "done"


def test_a_rollback_in_the_middle_leaves_nothing_stale(world):
    warm(titles, world)
    world.execute("BEGIN")
    world.execute(f"{UPDATE.format('forgotten')}; ROLLBACK; {UPDATE.format('second')}")
    assert title(world) == cached(titles, world)[0] == uncached(titles, world)[0] == "second"


def test_an_error_after_the_end_does_not_hide_it(world):
    warm(titles, world)
    world.execute("BEGIN")
    with pytest.raises(DataError):
        world.execute(f"{UPDATE.format('first')}; COMMIT; SELECT 1/0")
    assert title(world) == cached(titles, world)[0] == "first"
    assert elsewhere(is_hit, titles, world)
    world.execute(UPDATE.format("second"))
    assert title(world) == cached(titles, world)[0] == "second"


@pytest.mark.parametrize(
    "sql",
    (
        "ROLLBACK TO SAVEPOINT a; COMMIT",
        "FETCH ALL FROM c; COMMIT",
        "TABLE post; UPDATE post SET a = 1; COMMIT",
        "SELECT 1; COMMIT",
        "SET lock_timeout = 5; ABORT",
        "COMMIT; BEGIN",
        "UPDATE post SET a = 1; PREPARE TRANSACTION 'x'",
    ),
)
def test_an_end_is_found_behind_anything(sql):
    effect = effect_of(sql, "postgresql")
    assert effect.may_end
    assert effect.writes is None


@pytest.mark.parametrize(
    "sql",
    (
        "UPDATE post SET a = CASE b WHEN 1 THEN 2 END; UPDATE post SET b = 1",
        "FETCH ALL FROM c",
        "COMMIT;",
    ),
)
def test_an_end_is_not_found_where_there_is_none(sql):
    assert not effect_of(sql, "postgresql").may_end
