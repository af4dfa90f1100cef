"""PostgreSQL returns rows that are equal in what they are ordered by as it finds them, and an UPDATE moves a row."""

import pytest
from django.db.models import Case, Count, Exists, F, Max, Sum, When, Window
from django.db.models.functions import RowNumber, Upper

from django_layercache.querysets.orderings import terms_of
from django_layercache.querysets.tables import table_of
from tests.querysets.conftest import POSTGRES
from tests.querysets.oracle import remarks
from tests.querysets.test_columns import settled
from tests.querysets.world import World, cached, is_hit, tags_of, uncached, warm
from tests.testapp.models import Book

pytestmark = POSTGRES.marks[0]

#: Two rows that differ may be equal in the order.
TIED = {
    "one column": lambda q: q.order_by("views").values_list("title"),
    "a slice": lambda q: q.order_by("-views").values_list("title")[:1],
    "what is selected too": lambda q: q.order_by("views").values_list("title", "views"),
    "an expression": lambda q: q.order_by(F("views") + 1).values_list("title"),
    "the key in an expression": lambda q: q.order_by(F("pk") * 0).values_list("title"),
    "the key of another": lambda q: q.order_by("author").values_list("title"),
    "joined rows": lambda q: q.filter(title="one").order_by("author__posts__views").values_list("author__posts__title"),
    "made of joined rows": lambda q: q.filter(tags__name__gt="").order_by("pk").annotate(
        x=Upper("tags__name")).values_list("x"),
    "a window over joined rows": lambda q: q.filter(tags__name="red").order_by("pk").annotate(
        n=Window(RowNumber(), order_by="views")).values_list("title", "n"),
    "the first of some": lambda q: q.distinct("views").order_by("views").values_list("title"),
    "a window": lambda q: q.annotate(n=Window(RowNumber(), order_by="views")).order_by("pk").values_list("title", "n"),
}  # fmt: skip
#: They may not.
TOLD = {
    "the key": lambda q: q.order_by("-pk").values_list("title"),
    "the key, last": lambda q: q.order_by("views", Upper("title"), "pk").values_list("title")[:1],
    "all that is selected": lambda q: q.order_by("views", "title").values_list("title", "views"),
    "by its place": lambda q: q.order_by("title").values_list("title", flat=True).distinct(),
    "over a join": lambda q: q.order_by("pk").values_list("title", "author__name", "category__name"),
    "joined, and not shown": lambda q: q.filter(tags__name="red").order_by("pk").values_list("title"),
    "joined, and made of what is shown": lambda q: q.filter(tags__name="red").order_by("pk").annotate(
        x=Upper("author__name"), y=Case(When(Exists(remarks()), then=F("views") + 1), default=0)).values_list("x", "y"),
    "a row for each": lambda q: q.annotate(n=Count("tags")).order_by("pk").values_list("title", "n"),
    "a row for each group": lambda q: q.values("views").annotate(n=Max("title")).order_by("views"),
    "by a group's place": lambda q: q.values("author").annotate(n=Sum("views")).order_by("author"),
}  # fmt: skip


@pytest.fixture
def world(redis_store):
    world = World("postgres")
    world.all().update(views=1)
    world.look_for_triggers()
    return world


def read(made):
    return lambda w: list(made(w.all()))


@pytest.mark.parametrize("name", TIED)
def test_rows_that_are_equal_in_their_order_depend_on_where_they_lie(world, name):
    made = read(TIED[name])
    assert "testapp_post#*" in tags_of(made, world)
    warm(made, world)
    world.all().filter(pk=world.one.pk).update(body="moved")
    assert cached(made, world) == uncached(made, world)


@pytest.mark.parametrize("name", TOLD)
def test_an_order_of_all_rows_depends_on_what_is_read(world, name):
    made = read(TOLD[name])
    warm(made, world)
    world.all().filter(pk=world.one.pk).update(body="moved")
    assert is_hit(made, world)
    assert cached(made, world) == uncached(made, world)


def test_a_unique_column_orders_all_rows_unless_it_may_be_null():
    assert set(table_of("testapp_tag").keys) == {frozenset({"id"}), frozenset({"name"})}
    assert set(table_of("testapp_medal").keys) == {frozenset({"id"})}


def test_the_key_of_a_parent_orders_its_children(world):
    made = lambda w: list(w.all(Book).order_by("work_ptr_id").values_list("title"))  # noqa: E731
    assert "testapp_work#*" not in tags_of(made, world)


def test_the_rows_of_a_page_survive_what_happens_to_others(world):
    """An order by one column is the usual one of lists; it is the rows on the page that count then."""
    page = lambda w: list(w.all().order_by("-published")[:1])  # noqa: E731
    settled(page, world)
    world.all().filter(pk=world.one.pk).update(body="x")
    assert is_hit(page, world)


@pytest.mark.parametrize(
    ("sql", "terms"),
    (
        ('SELECT 1 FROM "t" ORDER BY "t"."a" DESC NULLS LAST, 2 ASC, "b" ASC LIMIT 5 OFFSET 1',
         {("t", "a"), 2, ("", "b")}),
        ('SELECT 1 FROM "t" ORDER BY LOWER("t"."a", "t"."c") ASC, "t"."b" ASC', {("t", "b")}),
        ('SELECT 1 FROM "t" ORDER BY "t"."a" = %s ASC', set()),
        ('SELECT 1 FROM "t" ORDER BY "t"."a" COLLATE "C" ASC', set()),
        ('SELECT (SELECT 1 FROM "u" ORDER BY "u"."a" LIMIT 1) FROM "t"', set()),
        ('SELECT 1 FROM "t" ORDER BY "t"."a" ASC, (SELECT 1 FROM "u" ORDER BY "u"."a" ASC) ASC', set()),
        ('SELECT RANK() OVER (ORDER BY "t"."a" ASC) FROM "t"', set()),
    ),
)  # fmt: skip
def test_what_a_statement_orders_by_is_read_in_its_text(sql, terms):
    assert terms_of(sql) == terms
