"""SQLite's ``SAVEPOINT`` begins a transaction where there is none, and its ``RELEASE`` commits that."""

from contextlib import suppress

import pytest
from django.db import transaction

from tests.querysets.conftest import SQLITE
from tests.querysets.test_transactions import Undo, rename, titles
from tests.querysets.world import cached, elsewhere, is_hit, manual_commits, uncached, warm

only_sqlite = pytest.mark.parametrize("alias", [SQLITE], indirect=True)


@pytest.fixture(autouse=True)
def ended(world):
    """Whatever a test leaves open would keep the tables from being emptied."""
    yield
    world.connection.close()


def all_see(world, title):
    return cached(titles, world)[0] == elsewhere(cached, titles, world)[0] == title


def test_a_block_where_autocommit_is_off_is_committed_when_the_database_says_so(world):
    warm(titles, world)
    with manual_commits(world.connection):
        with transaction.atomic(world.alias), transaction.atomic(world.alias):
            rename(world)
        assert elsewhere(cached, titles, world) == elsewhere(uncached, titles, world)
    assert cached(titles, world) == uncached(titles, world)


@only_sqlite
def test_a_block_that_is_rolled_back_where_autocommit_is_off_changes_nothing(world):
    warm(titles, world)
    with (
        manual_commits(world.connection),
        suppress(Undo),
        transaction.atomic(world.alias),
    ):
        rename(world)
        raise Undo
    assert is_hit(titles, world)
    assert all_see(world, "one")


@only_sqlite
def test_savepoints_in_sql_begin_and_end_a_transaction(world):
    warm(titles, world)
    world.execute("SAVEPOINT outer")
    world.execute("SAVEPOINT inner")
    rename(world)
    world.execute("RELEASE SAVEPOINT INNER")
    assert cached(titles, world)[0] == "changed"
    assert elsewhere(is_hit, titles, world)
    world.execute('RELEASE "outer"')
    assert all_see(world, "changed")
    rename(world, "later")
    assert all_see(world, "later")


@only_sqlite
def test_a_savepoint_in_a_transaction_ends_nothing(world):
    warm(titles, world)
    world.execute("BEGIN")
    world.execute("SAVEPOINT one")
    rename(world)
    world.execute("RELEASE one")
    assert cached(titles, world)[0] == "changed"
    assert elsewhere(is_hit, titles, world)
    world.execute("COMMIT")
    assert all_see(world, "changed")
