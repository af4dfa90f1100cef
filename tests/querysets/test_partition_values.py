"""INSERTs whose partition is an expression, or empty, do not invalidate the partition they land in."""

import pytest
from django.db.models import Value
from django.db.models.functions import Concat, Lower

from tests.querysets.world import World, cached, uncached, warm
from tests.testapp.models import Medal, Post, Stamped


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


NEW = {
    "save": lambda w: Medal(number=7).save(using=w.alias),
    "in bulk": lambda w: w.all(Medal).bulk_create([Medal(number=7)]),
}


@pytest.mark.parametrize("write", NEW)
def test_a_partition_that_a_field_chooses(world, write, monkeypatch):
    monkeypatch.setattr(Stamped, "now", world.ada.pk)
    w, read = world, lambda: list(world.all(Medal).filter(author=world.ada).order_by("pk"))
    w.all(Medal).filter(pk=0).update(number=0)  # asks which tables have triggers
    assert warm(read) == []
    NEW[write](w)
    assert cached(read) == uncached(read) != []


TRIGGERS = {
    "sqlite": (
        """CREATE TRIGGER testapp_named AFTER INSERT ON testapp_medal BEGIN
           UPDATE testapp_medal SET slug = 'n' || NEW.number WHERE id = NEW.id; END""",
        "DROP TRIGGER testapp_named",
    ),
    "postgresql": (
        """CREATE FUNCTION testapp_name() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN NEW.slug = 'n' || NEW.number; RETURN NEW; END $$;
           CREATE TRIGGER testapp_named BEFORE INSERT ON testapp_medal
           FOR EACH ROW EXECUTE FUNCTION testapp_name()""",
        "DROP FUNCTION testapp_name CASCADE",
    ),
}


def test_a_partition_that_a_trigger_chooses(world):
    w, read = world, lambda: world.all(Medal).filter(slug="n7").count()
    create, drop = TRIGGERS[w.connection.vendor]
    w.execute(create)
    try:
        w.all(Medal).filter(pk=0).update(number=0)  # asks which tables have triggers
        warm(read)
        w.all(Medal).bulk_create([Medal(number=7)])
        assert cached(read) == 1
    finally:
        w.execute(drop)
