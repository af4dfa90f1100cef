"""Which tags a query depends on, and which queries are never cached."""

import uuid

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    FilteredRelation,
    OuterRef,
    Q,
    Subquery,
    Value,
    When,
    Window,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, RowNumber

from django_layercache import trace
from tests.querysets.conftest import POSTGRES, use_store
from tests.querysets.world import World, cached, is_hit, outcomes, tags_of, uncached, warm
from tests.testapp.models import (
    Author,
    Book,
    Busy,
    Category,
    Comment,
    Country,
    Folder,
    LoudAuthor,
    Post,
    Profile,
    Tag,
    Ticket,
    Work,
)  # fmt: skip

ANY = {
    name: f"testapp_{name}#*"
    for name in ("post", "author", "category", "comment", "tag", "work", "book")
}
POST, AUTHOR, CATEGORY, COMMENT, TAG, WORK, BOOK = ANY.values()
POST_TAGS = "testapp_post_tags#*"


def of_post():
    return Comment.objects.filter(post=OuterRef("pk"))


# -- tables ----------------------------------------------------------------------------------------
TABLES = {
    "all rows": (lambda w: list(w.all()), {POST}),
    "a count": (lambda w: w.all().count(), {POST}),
    "select_related": (lambda w: list(w.all().select_related("author", "category")), {POST, AUTHOR, CATEGORY}),
    "a filter over a key": (lambda w: list(w.all().filter(author__name="x")), {POST, AUTHOR}),
    "a filter by a key alone": (lambda w: list(w.all().filter(author=w.ada)), {POST}),
    "an order over a key": (lambda w: list(w.all().order_by("author__name")), {POST, AUTHOR}),
    "many to many": (lambda w: list(w.all().filter(tags__name="x")), {POST, POST_TAGS, TAG}),
    "a child": (lambda w: list(w.all(Book)), {BOOK, WORK}),
    "a child from its parent": (lambda w: list(w.all(Work).filter(book__pages=1)), {BOOK, WORK}),
    "a proxy": (lambda w: list(w.all(LoudAuthor)), {AUTHOR}),
    "a subquery": (lambda w: list(w.all().filter(pk__in=w.all(Comment).values("post"))), {POST, COMMENT}),
    "exists": (lambda w: list(w.all().filter(Exists(of_post()))), {POST, COMMENT}),
    "not exists": (lambda w: list(w.all().filter(~Exists(of_post()))), {POST, COMMENT}),
    "case and when": (
        lambda w: list(w.all().annotate(x=Case(When(Exists(of_post()), then=Value(1)), default=Value(0)))),
        {POST, COMMENT},
    ),
    "coalesce": (
        lambda w: list(w.all().annotate(x=Coalesce(Subquery(of_post().values("pk")[:1]), 0))),
        {POST, COMMENT},
    ),
    "a filtered relation": (
        lambda w: list(w.all().annotate(c=FilteredRelation("comments", condition=Q(comments__pk=1))).values("c__text")),
        {POST, COMMENT},
    ),
    "a union": (
        lambda w: list(w.all().values("title").union(w.all(Author).values("name"), w.all(Tag).values("name"))),
        {POST, AUTHOR, TAG},
    ),
    "a window": (
        lambda w: list(w.all().annotate(x=Window(RowNumber(), partition_by="author__name"))), {POST, AUTHOR},
    ),
    "an aggregate over relations": (
        lambda w: w.all(Author).aggregate(n=Count("posts__comments")), {POST, AUTHOR, COMMENT},
    ),
    "RawSQL": (
        lambda w: list(w.all().annotate(x=RawSQL("(SELECT MAX(id) FROM testapp_comment)", ()))), {POST, COMMENT},
    ),
    "itself": (
        lambda w: list(w.all(Folder).filter(parent__name="x", children__friends__name="y")),
        {"testapp_folder#*", "testapp_folder_friends#*"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_query_depends_on_each_table_that_it_touches(local_world, name):
    read, expected = TABLES[name]
    assert {tag.partition("#")[0] for tag in tags_of(read, local_world)} == {
        tag.partition("#")[0] for tag in expected
    }


# -- rows ------------------------------------------------------------------------------------------
def rows_of(table, *keys):
    return {f"testapp_{table}", *(f"testapp_{table}#pk={key}" for key in keys)}


def test_a_row_that_was_found_is_all_that_a_query_bound_to_it_depends_on(local_world):
    w = local_world
    assert tags_of(lambda w: w.all().get(pk=w.one.pk), w) == rows_of("post", w.one.pk)
    assert tags_of(lambda w: w.all().filter(pk=w.one.pk).exists(), w) == {
        "testapp_post#pk=?+",
        f"testapp_post#pk={w.one.pk}+",
    }
    assert tags_of(lambda w: list(w.all().filter(pk=w.one.pk, title="one")), w) == rows_of(
        "post", w.one.pk
    )


def test_a_row_that_was_not_found_may_be_inserted(local_world):
    w = local_world
    for read in (
        lambda w: list(w.all().filter(pk=10**6)),
        lambda w: list(w.all().filter(pk=w.one.pk, title="no")),
        lambda w: list(w.all().filter(pk__in=[w.one.pk, 10**6])),
        lambda w: w.all().filter(pk=w.one.pk).count(),
        lambda w: w.all().filter(pk=w.one.pk).aggregate(n=models.Sum("views")),
        lambda w: list(w.all().filter(Q(pk=w.one.pk) | Q(title="two"))),
        lambda w: list(w.all().exclude(pk=w.one.pk)),
    ):
        assert "testapp_post#+" in tags_of(read, w)


def test_a_row_survives_a_write_to_another(world):
    w = world
    reads = [
        lambda w: w.all().get(pk=w.one.pk),
        lambda w: list(w.all().filter(pk__in=[w.one.pk, w.three.pk]).order_by("pk")),
        lambda w: w.all().filter(pk=w.one.pk).exists(),
        lambda w: w.all(Ticket).get(pk=w.ticket.pk),
        lambda w: w.all(Country).get(pk="FR"),
        lambda w: w.all(Profile).get(pk=w.ada.pk),
    ]
    for read in reads:
        warm(read, w)
    w.all().filter(pk=w.two.pk).update(title="changed")
    w.two.save()
    w.new(Post, author=w.ada, title="new")
    w.new(Ticket, text="new")
    w.new(Country, code="fr", name="not France")
    w.new(Profile, author=w.bob, motto="new")
    w.all(Country).get(pk="fr").delete()
    assert [read for read in reads if not is_hit(read, w)] == []


def test_a_row_does_not_survive_a_write_to_unknown_rows(world):
    read = lambda w: w.all().get(pk=w.one.pk)  # noqa: E731
    warm(read, world)
    world.all().filter(title="one").update(views=77)
    assert cached(read, world) == uncached(read, world)


@pytest.mark.parametrize(
    ("model", "key", "fields"),
    (
        (Tag, 10**6, {"name": "new"}),
        (Ticket, uuid.UUID(int=5), {"text": "new"}),
        (Country, "DE", {"name": "new"}),
        (Country, "fr", {"name": "new"}),
        (Country, "ü/#%:", {"name": "new"}),
    ),
)
def test_a_missing_row_is_seen_when_it_is_inserted(world, model, key, fields):
    read = lambda w: list(w.all(model).filter(pk=key))  # noqa: E731
    present = world.all(model).first().pk
    both = lambda w: list(w.all(model).filter(pk__in=[key, present]))  # noqa: E731
    assert warm(read, world) == []
    assert len(warm(both, world)) == 1
    world.new(model, pk=key, **fields)
    assert len(cached(read, world)) == 1
    assert len(cached(both, world)) == 2
    world.all(model).filter(pk=key).delete()
    assert cached(read, world) == []
    assert len(cached(both, world)) == 1


def test_a_row_that_a_join_repeats_does_not_stand_for_a_missing_one(world):
    read = lambda w: list(w.all().filter(pk__in=[w.two.pk, 10**6], tags__isnull=False))  # noqa: E731
    assert len(warm(read, world)) == 2  # one row, with two tags
    new = world.new(Post, pk=10**6, author=world.ada, title="new")
    Post.tags.through.objects.using(world.alias).create(post=new, tag=world.red)
    assert len(cached(read, world)) == 3


def test_nor_does_a_row_that_is_repeated_by_what_orders_it(world):
    found = world.all().filter(pk__in=[world.two.pk, 10**6]).order_by("tags__name")
    read = lambda w: list(found.values_list("title", flat=True))  # noqa: E731
    assert warm(read, world) == ["two", "two"]
    world.new(Post, pk=10**6, author=world.ada, title="new")
    assert sorted(cached(read, world)) == ["new", "two", "two"]


def test_a_key_that_update_changes_leaves_neither_of_its_rows_stale(world):
    old = lambda w: list(w.all(Country).filter(pk="FR"))  # noqa: E731
    new = lambda w: list(w.all(Country).filter(pk="FX"))  # noqa: E731
    warm(old, world), warm(new, world)
    world.all(Country).filter(pk="FR").update(code="FX")
    assert cached(old, world) == []
    assert len(cached(new, world)) == 1


def test_more_than_fifty_keys_depend_on_any_row(local_world):
    few = lambda w: list(w.all(Tag).filter(pk__in=range(50)))  # noqa: E731
    many = lambda w: list(w.all(Tag).filter(pk__in=range(51)))  # noqa: E731
    with trace():
        assert "testapp_tag#pk=7" in tags_of(few, local_world)
    assert "testapp_tag#pk=7" not in tags_of(many, local_world)


def test_fifty_rows_that_are_there_are_fifty_tags(local_world):
    w = local_world
    w.all(Tag).bulk_create([Tag(pk=1000 + n, name=f"{n}") for n in range(50)])
    read = lambda w: list(w.all(Tag).filter(pk__in=range(1000, 1050)).order_by("pk"))  # noqa: E731
    assert tags_of(read, w) == rows_of("tag", *range(1000, 1050))
    w.all(Tag).filter(pk=w.red.pk).update(name="pink")
    assert is_hit(read, w)
    w.all(Tag).filter(pk=1049).delete()
    assert len(cached(read, w)) == 49


def test_a_one_to_one_key_is_that_of_the_row_it_points_to(local_world):
    w = local_world
    expected = rows_of("profile", w.ada.pk)
    assert tags_of(lambda w: w.all(Profile).get(pk=w.ada.pk), w) == expected
    assert tags_of(lambda w: w.all(Profile).get(author=w.ada), w) == expected
    assert tags_of(lambda w: w.ada.profile, w) <= {*expected, "testapp_profile#+"}


def test_a_row_read_twice_in_one_query_is_not_bound(local_world):
    higher = Post.objects.filter(views__gt=OuterRef("views"))
    read = lambda w: list(w.all().filter(pk=w.one.pk).annotate(x=Exists(higher)))  # noqa: E731
    assert not any("#pk=" in tag for tag in tags_of(read, local_world))


def test_bulk_writes_of_known_rows_leave_the_others_alone(world):
    w = world
    read = lambda w: w.all().get(pk=w.three.pk)  # noqa: E731
    warm(read, w)
    w.one.title = "changed"
    w.all().bulk_update([w.one, w.two], ["title"])
    w.all().filter(pk__in=[w.one.pk, w.two.pk]).update(views=F("views") + 1)
    w.all().bulk_create([Post(author=w.ada, title="new")])
    assert is_hit(read, w)


# -- never cached ----------------------------------------------------------------------------------
def test_a_view_is_not_cached_unless_the_settings_name_it(local_world, request, settings):
    w = local_world
    w.execute(
        "CREATE VIEW testapp_busy AS SELECT author_id, COUNT(*) AS posts FROM testapp_post GROUP BY author_id"
    )
    try:
        reads = (
            lambda w: list(w.all(Busy).order_by("pk")),
            lambda w: list(w.all(Author).filter(busy__posts__gt=1)),
            lambda w: list(
                w.all(Author).annotate(x=RawSQL("(SELECT MAX(posts) FROM testapp_busy)", ()))
            ),
            lambda w: list(w.all(Author).extra(tables=["testapp_busy"])),
        )
        for read in reads:
            assert {*outcomes(read, w), *outcomes(read, w)} <= {"bypass"}
        use_store(request, settings, "local", MODELS={"testapp.busy": {}})
        assert "hit" in [*outcomes(reads[0], w), *outcomes(reads[0], w)]
    finally:
        w.execute("DROP VIEW testapp_busy")


def test_a_view_that_no_model_knows_is_not_cached(local_world):
    w = local_world
    w.execute("CREATE VIEW testapp_seen AS SELECT * FROM testapp_comment")
    try:
        read = lambda w: list(w.all().annotate(x=RawSQL("(SELECT MAX(id) FROM testapp_seen)", ())))  # noqa: E731
        assert {*outcomes(read, w), *outcomes(read, w)} <= {"bypass"}
    finally:
        w.execute("DROP VIEW testapp_seen")


def test_an_excluded_model_is_not_cached_wherever_it_is_read(local_world, request, settings):
    use_store(request, settings, "local", MODELS={"testapp.comment": False})
    for read in (
        lambda w: list(w.all(Comment)),
        lambda w: list(w.all().filter(comments__text="first")),
        lambda w: list(w.all().filter(Exists(of_post()))),
    ):
        assert {*outcomes(read, local_world), *outcomes(read, local_world)} <= {"bypass"}
    warm(lambda w: list(w.all()), local_world)


@pytest.mark.parametrize("function", ("testapp_unknown", "pg_relation_size", "pg_is_in_recovery"))
@POSTGRES.marks[0]
def test_a_function_that_nobody_knows_is_not_cached(local_store, function):
    w = World("postgres")
    w.execute(
        "CREATE OR REPLACE FUNCTION testapp_unknown() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"
    )
    arguments = [Value("testapp_post")] if "size" in function else []
    expression = models.Func(
        *arguments,
        function=function,
        template="%(function)s(%(expressions)s)",
        output_field=models.TextField(),
    )
    if arguments:
        expression.template = "%(function)s((%(expressions)s)::regclass)"
    read = lambda w: list(w.all().annotate(x=expression).values_list("x"))  # noqa: E731
    assert {*outcomes(read, w), *outcomes(read, w)} <= {"bypass"}


def test_the_model_settings_cache_what_nobody_asked_to_cache(local_world, request, settings):
    use_store(request, settings, "local", MODELS={"testapp.post": {"timeout": 60}})
    w = local_world
    with trace() as events:
        list(w.all()), list(w.all()), list(w.all(Author)), list(w.all(Author))
    assert [event.outcome for event in events] == ["miss", "hit"]


def test_nothing_is_cached_that_nobody_asked_to_cache(local_world):
    w = local_world
    with trace() as events:
        list(w.all()), w.all().count(), list(w.all().select_related("author"))
    assert events == []


def test_content_types_are_rows_like_others(local_world):
    kind = ContentType.objects.db_manager(local_world.alias).get_for_model(Category)
    read = lambda w: w.all(ContentType).get(pk=kind.pk)  # noqa: E731
    assert tags_of(read, local_world) == {
        "django_content_type",
        f"django_content_type#pk={kind.pk}",
    }
