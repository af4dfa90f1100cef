"""``BEGIN`` at the head of several statements: nobody notices the transaction, and what it reads is stored."""

import pytest

from tests.querysets.conftest import on
from tests.querysets.world import World, cached, elsewhere, uncached

pytestmark = on("default", "postgres")


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT"])
def test_uncommitted_rows_are_not_stored(local_store, end):
    world = World("postgres")

    def read():
        return world.all().get(pk=world.one.pk).title

    cached(read)
    world.execute(f"BEGIN; UPDATE testapp_post SET title = 'dirty' WHERE id = {world.one.pk}")
    try:
        cached(read)
        before = elsewhere(cached, read)
        assert before == elsewhere(uncached, read) == "one"
    finally:
        world.execute(end)
    assert elsewhere(cached, read) == elsewhere(uncached, read)
