"""A query that reads some columns survives changes of the others, wherever a column's name comes from."""

from datetime import timedelta

import pytest
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import CharField, Exists, F, Func, Min, OuterRef, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Concat, ExtractDay

from django_layercache import trace
from django_layercache.querysets import triggered
from tests.querysets.conftest import on
from tests.querysets.world import START, World, cached, is_hit, tags_of, uncached, warm
from tests.testapp.models import Author, Category, Comment, Country, Loose, Meter, Post

TRIGGERS = {
    "sqlite": (
        """CREATE TRIGGER testapp_touched AFTER UPDATE OF reading ON testapp_meter BEGIN
           UPDATE testapp_meter SET changed = changed + 1 WHERE id = NEW.id; END""",
        "DROP TRIGGER testapp_touched",
    ),
    "postgresql": (
        """CREATE FUNCTION testapp_touch() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN NEW.changed = OLD.changed + 1; RETURN NEW; END $$;
           CREATE TRIGGER testapp_touched BEFORE UPDATE ON testapp_meter
           FOR EACH ROW EXECUTE FUNCTION testapp_touch()""",
        "DROP FUNCTION testapp_touch CASCADE",
    ),
}


def column(name):
    return lambda w: list(w.all(Meter).order_by("pk").values_list(name, flat=True))


@pytest.fixture
def meters(world):
    world.all(Meter).filter(pk=0).update(reading=0)  # asks which tables have triggers
    for number in range(3):
        world.meter = world.new(Meter, reading=number, note=f"{number}", label="x")
    return world


@pytest.mark.parametrize("name", ("reading", "note", "label", "comment"))
def test_a_column_is_fresh_and_survives_changes_of_others(meters, name):
    w = meters
    others = {"reading", "note", "label", "comment"} - {name}
    warm(column(name), w)
    for other in sorted(others):
        w.all(Meter).update(**{other: 5})
        assert is_hit(column(name), w)
    w.all(Meter).update(**{name: 7})
    assert (
        cached(column(name), w)
        == uncached(column(name), w)
        == [type(cached(column(name), w)[0])(7)] * 3
    )


def test_a_column_that_the_database_computes_changes_with_those_that_it_is_made_of(meters):
    w = meters
    warm(column("doubled"), w)
    w.all(Meter).update(reading=F("reading") + 1)
    assert cached(column("doubled"), w) == [2, 4, 6]


def by_orm(w):
    w.all(Meter).update(reading=5)


def by_sql(w):
    w.execute("UPDATE testapp_meter SET reading = 5")


def of_one(name):
    """A column of one row."""
    return lambda w: w.all(Meter).filter(pk=w.meter.pk).values_list(name).get()


@pytest.mark.parametrize("write", (by_orm, by_sql))
def test_an_update_of_unknown_rows_leaves_their_other_columns(meters, write):
    w = meters
    for read in (column("note"), of_one("note"), column("reading"), of_one("reading")):
        warm(read, w)
    write(w)
    assert is_hit(column("note"), w)
    assert is_hit(of_one("note"), w)
    assert cached(column("reading"), w) == [5, 5, 5]
    assert cached(of_one("reading"), w) == [5]


def test_a_row_that_goes_is_gone_for_who_reads_a_column_of_it(meters):
    w = meters
    read = lambda w: list(w.all(Meter).filter(pk=w.meter.pk).values_list("note"))  # noqa: E731
    warm(read, w)
    w.all(Meter).filter(reading=w.meter.reading).delete()
    assert cached(read, w) == []


@pytest.mark.parametrize("write", (by_orm, by_sql))
@pytest.mark.parametrize("is_known", (True, False))
def test_a_column_that_a_trigger_keeps_is_fresh(meters, is_known, write):
    w = meters
    create, drop = TRIGGERS[w.connection.vendor]
    w.execute(create)
    try:
        if is_known:
            w.all(Meter).filter(pk=0).update(reading=0)
        warm(column("changed"), w)
        write(w)
        assert cached(column("changed"), w) == [1, 1, 1]
    finally:
        w.execute(drop)
    triggered.forget()


def remarks(**conditions):
    return Exists(Comment.objects.filter(post=OuterRef("pk"), **conditions))


@pytest.mark.parametrize(
    "read",
    (
        lambda w: list(w.all().filter(remarks()).order_by("pk")),
        lambda w: list(w.all().filter(remarks(text="first")).order_by("pk").values_list("title")),
        lambda w: w.all().filter(remarks()).count(),
    ),
)
def test_what_something_refers_to_is_fresh_and_new_rows_make_no_difference(world, read):
    settled(read, world)
    new = world.new(Post, author=world.ada, title="new", published=START)
    assert is_hit(read, world)
    world.new(Comment, post=new, text="first", created=START)
    assert cached(read, world) == uncached(read, world)
    world.all().filter(pk=new.pk).update(title="changed")
    assert cached(read, world) == uncached(read, world)
    new.delete()
    assert cached(read, world) == uncached(read, world)


@pytest.mark.parametrize(
    "read",
    (
        lambda w: list(w.all().filter(~remarks()).order_by("pk")),
        lambda w: list(w.all().filter(remarks() | Q(views=0)).order_by("pk")),
        lambda w: list(w.all().filter(Exists(Post.objects.filter(author=OuterRef("author")))).order_by("pk")),
    ),
)  # fmt: skip
def test_new_rows_make_a_difference_to_what_nothing_has_to_refer_to(world, read):
    settled(read, world)
    world.new(Post, author=world.ada, title="new", published=START)
    assert cached(read, world) == uncached(read, world)
    assert len(cached(read, world)) > 0


@pytest.mark.parametrize(
    "read",
    (
        lambda w: list(w.all().order_by("pk").select_related("author")),
        lambda w: list(w.all().order_by("author__name", "pk")),
        lambda w: list(w.all().order_by("pk").values_list("author__name")),
        lambda w: list(w.all().order_by("pk").filter(author__name__startswith="A")),
    ),
)
def test_rows_that_are_looked_up_are_fresh_and_others_make_no_difference(world, read):
    warm(read, world)
    eve = world.new(Author, name="Eve")
    assert is_hit(read, world)
    eve.delete()
    assert is_hit(read, world)
    world.all(Author).filter(pk=world.ada.pk).update(name="Zoe")
    assert cached(read, world) == uncached(read, world)
    world.all(Author).filter(name="Bob").update(name="Abe")
    assert cached(read, world) == uncached(read, world)


@pytest.mark.parametrize("sql", ("reading + 1", '"reading" + 1', "testapp_meter.reading + 1"))
def test_a_column_in_hand_written_sql_is_noticed(meters, sql):
    read = lambda w: list(  # noqa: E731
        w.all(Meter).annotate(x=RawSQL(sql, ())).order_by("pk").values_list("x", flat=True)
    )
    warm(read, meters)
    meters.all(Meter).update(reading=41)
    assert cached(read, meters) == [42, 42, 42]


def test_a_column_that_is_neither_quoted_nor_ascii_is_noticed(meters):
    def read(w):
        return list(w.all(Meter).annotate(x=RawSQL("étiquette", ())).order_by("pk").values("x"))

    warm(read, meters)
    meters.all(Meter).update(label="z")
    assert cached(read, meters) == [{"x": "z"}] * 3


@pytest.mark.parametrize(
    "sql",
    (
        """(SELECT COUNT(*) FROM "testapp_author" NATURAL JOIN "testapp_category")""",
        """(SELECT COUNT(*) FROM (SELECT * FROM "testapp_author" EXCEPT SELECT * FROM "testapp_category") x)""",
    ),
)
def test_columns_that_are_read_without_their_names_are_noticed(meters, sql):
    w = meters
    w.new(Author, pk=500, name="somebody")
    w.new(Category, pk=500, name="something")

    def read(w):
        return list(
            w.all(Meter).annotate(x=RawSQL(sql, ())).order_by("pk").values_list("x", flat=True)
        )

    before = warm(read, w)
    w.all(Author).filter(pk=500).update(name="something")
    assert cached(read, w) == uncached(read, w) != before


@pytest.mark.parametrize("sql", ("row_to_json(testapp_post)::text", "testapp_post::text"))
@on("postgres")
def test_a_row_may_be_read_as_a_whole(local_store, sql):
    w = World("postgres")
    w.look_for_triggers()

    def read(w):
        return list(w.all().annotate(x=RawSQL(sql, ())).order_by("pk").values("x"))

    warm(read, w)
    w.all().update(body="new")
    assert cached(read, w) == uncached(read, w)


def test_rows_that_nobody_orders_may_come_in_another_order(local_world):
    w = local_world
    reads = (
        lambda w: list(w.all().values_list("title")),
        lambda w: list(
            w.all().values_list("pk")
        ),  # SQLite has them in the index of the authors, too
        lambda w: w.all().values_list("title")[0],
    )
    for read in reads:
        assert "testapp_post#*" in tags_of(read, w)
        warm(read, w)
    w.all().filter(pk=w.one.pk).update(views=9, author=w.bob)
    for read in reads:
        assert cached(read, w) == uncached(read, w)


@pytest.mark.parametrize("aggregate", ("any", "subquery", "derived"))
@on("postgres")
def test_what_is_made_of_rows_in_no_order_depends_on_where_they_are(local_store, aggregate):
    w = World("postgres")
    w.look_for_triggers()
    reads = {
        "any": lambda w: list(w.all(Author).annotate(x=ArrayAgg("posts__title")).order_by("pk").values("x")),
        "subquery": lambda w: list(
            w.all(Author).annotate(x=w.all().filter(title__gt="").values("title")[:1]).order_by("pk").values("x")
        ),
        "derived": lambda w: w.all()[:1].aggregate(Min("title")),
    }  # fmt: skip
    warm(reads[aggregate], w)
    w.all().filter(pk=w.one.pk).update(views=9)
    assert cached(reads[aggregate], w) == uncached(reads[aggregate], w)


@on("postgres")
def test_a_union_in_brackets_hides_no_condition(local_store):
    w = World("postgres")

    def read(w):
        found = w.all().filter(views__gt=1).values_list("pk", "title")
        return sorted(found.union(w.all(Author).values_list("pk", "name")))

    settled(read, w)
    w.all().filter(pk=w.one.pk).update(views=9)
    assert cached(read, w) == uncached(read, w)


# -- where a column's name may stand ---------------------------------------------------------------
READS = {
    "condition": lambda q: q.extra(where=["views > 1"]).values("title"),
    "quoted condition": lambda q: q.extra(where=['"views" > 1']).values("title"),
    "part of a date": lambda q: q.annotate(x=ExtractDay("published")).values("x"),
    "condition on a part": lambda q: q.filter(published__day=2).values("title"),
    "after a subquery": lambda q: q.annotate(
        x=RawSQL('(SELECT MIN(id) - MIN(id) FROM "testapp_author") + views', ())
    ).values("x"),
    "after a type": lambda q: q.annotate(
        x=Concat(Cast("title", CharField(max_length=10)), Cast("views", CharField(max_length=10)))
    ).values("x"),
    "after another": lambda q: q.annotate(
        x=RawSQL('CASE WHEN 1 IS DISTINCT FROM "views" THEN 1 END', ())
    ).values("x"),
    "system": lambda q: q.annotate(x=RawSQL("xmin::text", ())).values("x"),
}


@pytest.mark.parametrize("name", READS)
def test_a_column_is_noticed_wherever_it_stands(local_world, name):
    w = local_world
    if name == "system" and w.connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone has such columns")
    read = lambda w: list(READS[name](w.all().order_by("pk")))  # noqa: E731
    settled(read, w)
    before = cached(read, w)
    w.all().filter(pk=w.one.pk).update(views=9, published=START + timedelta(days=2))
    assert cached(read, w) == uncached(read, w) != before


@on("default")
def test_a_condition_may_name_a_column_of_the_result(local_store):
    w = World("default")
    read = lambda w: list(  # noqa: E731
        w.all().annotate(shown=F("views")).extra(where=["shown > 1"]).order_by("pk")
    )
    settled(read, w)
    w.all().filter(pk=w.one.pk).update(views=9)
    assert cached(read, w) == uncached(read, w)


def test_an_aggregate_that_django_does_not_know_proves_no_row(local_world):
    w = local_world
    read = lambda w: list(  # noqa: E731
        w.all(Country).filter(pk="DE").annotate(n=Func("pk", function="COUNT")).values("n")
    )
    assert warm(read, w) == [{"n": 0}]
    w.new(Country, code="DE", name="Germany")
    assert cached(read, w) == [{"n": 1}]


def test_a_generated_column_that_no_model_knows_is_noticed(meters):
    w = meters
    w.execute("ALTER TABLE testapp_meter ADD hidden integer GENERATED ALWAYS AS (reading * 3) %s" % (
        "STORED" if w.connection.vendor == "postgresql" else "VIRTUAL"
    ))  # fmt: skip
    try:
        w.all(Meter).filter(pk=0).update(reading=0)  # asks again

        def read(w):
            return list(w.all(Meter).annotate(x=RawSQL("hidden", ())).order_by("pk").values("x"))

        warm(read, w)
        w.all(Meter).update(reading=5)
        assert cached(read, w) == [{"x": 15}] * 3
    finally:
        w.execute("ALTER TABLE testapp_meter DROP COLUMN hidden")


# -- rows that are found ---------------------------------------------------------------------------
def settled(read, w):
    """Read until the rows in the result have tokens from before."""
    w.look_for_triggers()
    for _ in range(2):
        warm(read, w)
        w.all().filter(pk=0).delete()
        w.execute("UPDATE testapp_post SET views = views WHERE id = 0")
    warm(read, w)


@pytest.mark.parametrize("sliced", (False, True))
def test_a_row_that_is_not_in_the_result_may_come_into_it(world, sliced):
    def read(w):
        found = w.all().filter(views__gt=1).order_by("-views")
        return list(found[:1] if sliced else found)

    settled(read, world)
    world.all().filter(pk=world.one.pk).update(body="x")
    assert is_hit(read, world)
    world.all().filter(pk=world.one.pk).update(views=9)
    assert cached(read, world) == uncached(read, world)
    assert cached(read, world)[0][1]["id"] == world.one.pk


def test_a_row_in_the_result_may_change_or_leave_it(world):
    read = lambda w: list(w.all().filter(views__gt=1).order_by("pk"))  # noqa: E731
    settled(read, world)
    world.all().filter(pk=world.three.pk).update(body="changed")
    assert cached(read, world) == uncached(read, world)
    settled(read, world)
    world.all().filter(pk=world.three.pk).delete()
    assert cached(read, world) == uncached(read, world)
    settled(read, world)
    world.all().update(body="all")
    assert cached(read, world) == uncached(read, world)


def test_a_window_shows_rows_of_others(world):
    from django.db.models import Window
    from django.db.models.functions import Rank

    read = lambda w: list(  # noqa: E731
        w.all().filter(title="one").annotate(r=Window(Rank(), order_by="-body")).order_by("pk")
    )
    settled(read, world)
    with trace() as events:
        cached(read, world)
    assert "testapp_post#*" in events[-1].tags


# -- rows that are looked up -----------------------------------------------------------------------
@pytest.mark.parametrize("field", ("unchecked", "ignored"))
def test_a_key_that_no_database_vouches_for_may_refer_to_what_appears(world, field):
    w = world
    if field == "unchecked":
        w.new(Loose, unchecked_id=4321)
    else:
        w.new(Loose, ignored=w.ada)
    read = lambda w: list(w.all(Loose).order_by("pk").values_list(f"{field}__name", flat=True))  # noqa: E731
    warm(read, w)
    assert "testapp_author#+" in tags_of(read, w) or "testapp_author#*" in tags_of(read, w)
    if field == "unchecked":
        w.new(Author, pk=4321, name="Late")
        assert cached(read, w) == ["Late"]


def test_what_is_looked_up_is_fresh_when_it_changes_in_any_way(world):
    read = lambda w: list(w.all().order_by("pk").values("title", "author__name"))  # noqa: E731
    writes = (
        lambda w: w.all(Author).filter(pk=w.ada.pk).update(name="A"),
        lambda w: w.all(Author).update(name="B"),
        lambda w: Author(pk=w.ada.pk, name="C").save(using=w.alias),
        lambda w: w.execute("UPDATE testapp_author SET name = 'D'"),
        lambda w: w.all(Author).bulk_update([Author(pk=w.bob.pk, name="E")], ["name"]),
        lambda w: w.all(Author).bulk_create(
            [Author(pk=w.bob.pk, name="F")], update_conflicts=True, update_fields=["name"], unique_fields=["id"]
        ),
        lambda w: w.all(Author).filter(pk=w.bob.pk).delete() and w.all().filter(author=w.bob).delete(),
        lambda w: w.new(Post, author=w.new(Author, name="G"), title="x"),
    )  # fmt: skip
    for write in writes:
        warm(read, world)
        write(world)
        assert cached(read, world) == uncached(read, world)
