"""A statement in a transaction that touches no row changes no tag; what is not certain does."""

import pytest
from django.db import connections, transaction

from tests.querysets.conftest import on
from tests.querysets.world import World, cached, is_hit, warm
from tests.testapp.models import Author, Comment, Tag

INSTEAD = """
    CREATE FUNCTION testapp_keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE testapp_comment SET text = 'gone' WHERE id = OLD.id; RETURN NULL; END $$;
    CREATE TRIGGER testapp_kept BEFORE DELETE ON testapp_comment
    FOR EACH ROW EXECUTE FUNCTION testapp_keep()
"""

READS = {
    "titles": lambda w: list(w.all().order_by("pk").values_list("title", flat=True)),
    "tags": lambda w: sorted(w.one.tags.values_list("name", flat=True)),
    "texts": lambda w: list(w.all(Comment).order_by("pk").values_list("text", flat=True)),
}
NOTHING = {
    "update": lambda w: w.all().filter(title="none").update(title="x"),
    "delete": lambda w: w.all(Comment).filter(text="none")._raw_delete(w.alias),
    "add what is there": lambda w: w.one.tags.add(w.red),
    "remove what is not": lambda w: w.one.tags.remove(w.green),
    "ignored conflicts": lambda w: w.all(Tag).bulk_create(
        [Tag(pk=w.red.pk, name="red")], ignore_conflicts=True
    ),
}


@pytest.fixture
def informed(world):
    world.all(Author).filter(pk=0).update(name="x")  # asks which tables have triggers
    return world


@pytest.mark.parametrize("name", NOTHING)
def test_what_was_cached_stays(informed, name):
    for read in READS.values():
        warm(read, informed)
    with transaction.atomic(informed.alias):
        NOTHING[name](informed)
    assert all(is_hit(read, informed) for read in READS.values())


def test_what_was_changed_before_stays_changed(informed):
    w = informed
    warm(READS["titles"], w)
    with transaction.atomic(w.alias):
        w.all().filter(pk=w.one.pk).update(title="new")
        w.all().filter(pk=0).update(title="none")
        assert cached(READS["titles"], w)[0] == "new"
    assert cached(READS["titles"], w)[0] == "new"


def test_rows_that_are_returned_are_not_counted_yet(informed):
    w = informed
    warm(READS["texts"], w)
    with transaction.atomic(w.alias):
        w.all(Comment).bulk_create([Comment(post=w.one, text="new")])
    assert cached(READS["texts"], w)[-1] == "new"


@on("default", "postgres")
def test_a_trigger_may_do_something_instead(local_store):
    w = World("postgres")
    w.execute(INSTEAD)
    try:
        w.all(Author).filter(pk=0).update(name="x")
        warm(READS["texts"], w)
        with transaction.atomic("postgres"):
            assert w.all(Comment).filter(text="first")._raw_delete("postgres") == 0
        assert cached(READS["texts"], w) == ["gone", "second"]
    finally:
        with connections["postgres"].cursor() as cursor:
            cursor.execute("DROP FUNCTION testapp_keep CASCADE")
