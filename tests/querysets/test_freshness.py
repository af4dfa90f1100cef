"""After a write, in whatever way, every read gives what the database holds."""

import pytest

from tests.querysets.conftest import POSTGRES, SQLITE, use_store
from tests.querysets.reading import EVERYTHING, READS
from tests.querysets.world import World, cached, elsewhere, uncached
from tests.querysets.writing import (
    ALL_WRITES,
    FUNCTION,
    POSTGRES_ONLY,
    PROCEDURE,
    SQLITE_ONLY,
    WRITES,
)

# What a write changes is the same over each store: all writes over one, a few over the other.
FEW = ["save_a_changed_row", "update_some", "bulk_update", "sql_update", "in_a_transaction"]
CASES = [
    *((SQLITE, "local", name) for name in [*WRITES, *SQLITE_ONLY]),
    *((POSTGRES, "redis", name) for name in [*WRITES, *POSTGRES_ONLY]),
    *((SQLITE, "redis", name) for name in FEW),
    *((POSTGRES, "local", name) for name in FEW),
]


@pytest.mark.parametrize(
    ("alias", "store", "name"),
    [
        pytest.param(*place.values, store, name, marks=place.marks, id=f"{name}-{place.id}-{store}")
        for place, store, name in CASES
    ],
)
def test_a_read_after_a_write_sees_it(alias, store, name, request, settings):
    use_store(request, settings, store)
    world = World(alias)
    if alias == "postgres":
        world.execute(FUNCTION)
        world.execute(PROCEDURE)
    before = {read: cached(EVERYTHING[read], world) for read in EVERYTHING}
    ALL_WRITES[name](world)
    after = {read: uncached(EVERYTHING[read], world) for read in EVERYTHING}
    assert before != after, "the write changed nothing that is read: the test shows nothing"
    stale = [read for read in EVERYTHING if cached(EVERYTHING[read], world) != after[read]]
    assert stale == []
    if name in FEW:  # ... and what those reads have stored is not stale either
        assert [read for read in EVERYTHING if cached(EVERYTHING[read], world) != after[read]] == []
    assert elsewhere(cached, READS["iteration"], world) == after["iteration"]
