"""SQLite's ``executescript()`` commits the open transaction by itself; a rollback afterwards forgets what it wrote."""

import pytest
from django.db import transaction

from tests.querysets.conftest import SQLITE
from tests.querysets.world import cached, uncached


@pytest.fixture(params=[SQLITE])
def alias(request):
    return request.param


def test_a_script_inside_a_transaction_that_is_rolled_back(local_world):
    world = local_world

    def read():
        return world.all().get(pk=world.one.pk).title

    cached(read)
    cached(read)
    with transaction.atomic():
        with world.connection.cursor() as cursor:
            cursor.executescript(
                f"UPDATE testapp_post SET title = 'script' WHERE id = {world.one.pk};"
            )
        transaction.set_rollback(True)
    assert cached(read) == uncached(read)
