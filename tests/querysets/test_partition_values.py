"""INSERTs whose partition is an expression, or empty, do not invalidate the partition they land in."""

import pytest
from django.db.models import Value
from django.db.models.functions import Concat, Lower

from tests.querysets.world import World, cached, uncached
from tests.testapp.models import Post


@pytest.fixture
def world(alias, settings):
    settings.LAYERCACHE = {"CACHE": None, "MODELS": {"testapp.post": {"partition_by": ["title"]}}}
    return World(alias)


WRITES = {
    "a value expression": lambda world, fields: world.all().create(title=Value("new"), **fields),
    "a function": lambda world, fields: world.all().create(title=Lower(Value("NEW")), **fields),
    "a concatenation": lambda world, fields: world.all().create(
        title=Concat(Value("n"), Value("ew")), **fields
    ),
    "in bulk": lambda world, fields: world.all().bulk_create([Post(title=Value("new"), **fields)]),
    "plain (control)": lambda world, fields: world.all().create(title="new", **fields),
}


@pytest.mark.parametrize("write", WRITES)
def test_an_expression_for_a_partition(world, write):
    def read():
        return [post.title for post in world.all().filter(title="new")]

    cached(read)
    cached(read)
    WRITES[write](world, {"author": world.ada})
    assert cached(read) == uncached(read)


@pytest.mark.parametrize("bulk", [False, True])
def test_an_empty_string_for_a_partition(world, bulk):
    def read():
        return [post.author_id for post in world.all().filter(title="")]

    cached(read)
    cached(read)
    if bulk:
        world.all().bulk_create(
            [Post(author=world.ada, title="x"), Post(author=world.ada, title="")]
        )
    else:
        world.all().create(author=world.ada, title="")
    assert cached(read) == uncached(read)
