"""INSERTs whose partition is an expression, or empty, do not invalidate the partition they land in."""

import pytest
from django.db.models import Value
from django.db.models.functions import Concat, Lower

from tests.querysets.world import World, cached, is_hit, uncached, warm
from tests.testapp.models import Category, Comment, Medal, Post, Stamped


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


# -- nothing is a value, too ---------------------------------------------------------------------
def uncategorised(w):
    return list(
        w.all().filter(category__isnull=True).order_by("pk").values_list("title", flat=True)
    )


@pytest.fixture
def posts(world):
    world.look_for_triggers()
    warm(uncategorised, world)
    return world


@pytest.mark.parametrize(
    "write",
    (
        lambda w: w.new(Post, author=w.ada, category=w.art, title="new"),
        lambda w: w.all().filter(pk=w.one.pk).update(title="changed"),
        lambda w: w.all().filter(category=w.art).update(title="changed"),
        lambda w: w.all().filter(category=w.art).update(author=w.ada),
    ),
)
def test_what_has_none_survives_what_has_one(posts, write):
    write(posts)
    assert is_hit(uncategorised, posts)


@pytest.mark.parametrize(
    "write",
    (
        lambda w: w.new(Post, author=w.ada, title="new"),
        lambda w: w.all().bulk_create([Post(author=w.ada, title="new"), Post(author=w.bob, title="x")]),
        lambda w: w.all().filter(pk=w.one.pk).update(category=None),
        lambda w: w.all().filter(title="one").update(category=None),
        lambda w: w.all().filter(pk=w.two.pk).update(category=w.art),
        lambda w: w.all().filter(category__isnull=True).update(title="changed"),
        lambda w: w.all().filter(category__isnull=True).delete(),
        lambda w: w.all(Category).get(pk=w.art.pk).delete(),
        lambda w: w.execute("UPDATE testapp_post SET category_id = NULL"),
    ),
)  # fmt: skip
def test_what_has_none_is_fresh(posts, write):
    before = uncached(uncategorised, posts)
    write(posts)
    assert cached(uncategorised, posts) == uncached(uncategorised, posts) != before


def test_what_has_none_because_nothing_is_joined_is_no_partition(posts):
    def unread(w):
        return list(w.all().filter(comments__post__isnull=True).order_by("pk"))

    warm(unread, posts)
    posts.new(Comment, post=posts.two, text="new")
    assert cached(unread, posts) == uncached(unread, posts) == []
