"""The patches cannot be seen: signatures, receivers, statements, types, and whose rows they are."""

import inspect
import pickle

import pytest
from django.core.signals import request_finished, request_started
from django.db import connections, transaction
from django.db.backends import signals as backend_signals
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Count, F, Prefetch, QuerySet, Sum, signals
from django.db.models.manager import BaseManager, Manager
from django.db.models.sql import compiler as compilers
from django.test.utils import CaptureQueriesContext

from django_layercache import cached_queries
from django_layercache.querysets import seams
from tests.querysets.world import cached, uncached
from tests.testapp.models import Author, Comment, Country, Post, Tag

PATCHED = [
    (owner, name)
    for owner in (
        compilers.SQLCompiler, compilers.SQLInsertCompiler, compilers.SQLUpdateCompiler, compilers.SQLDeleteCompiler,
        compilers.SQLAggregateCompiler, BaseDatabaseWrapper, CursorWrapper, QuerySet, BaseManager,
    )
    for name, value in vars(owner).items()
    if hasattr(value, seams._MARK)
]  # fmt: skip


# -- signatures ------------------------------------------------------------------------------------
def test_the_seams_are_where_they_are_said_to_be():
    assert len(PATCHED) >= 10
    assert {name for _, name in PATCHED} >= {
        "execute_sql",
        "commit",
        "rollback",
        "close",
        "_execute",
    }


@pytest.mark.parametrize(("owner", "name"), PATCHED, ids=[f"{o.__name__}.{n}" for o, n in PATCHED])
def test_a_patched_method_looks_like_djangos(owner, name):
    patched = vars(owner)[name]
    original = getattr(patched, seams._MARK)
    assert inspect.signature(patched) == inspect.signature(original)
    assert (patched.__name__, patched.__qualname__, patched.__module__, patched.__doc__) == (
        original.__name__, original.__qualname__, original.__module__, original.__doc__,
    )  # fmt: skip


def test_installing_twice_patches_once():
    before = [vars(owner)[name] for owner, name in PATCHED]
    seams.install()
    assert [vars(owner)[name] for owner, name in PATCHED] == before


OURS = {"cached", "no_cache", "explain_cache", "aexplain_cache"}


def test_managers_have_the_methods_that_django_gives_them_and_those_that_are_documented():
    assert not OURS & BaseManager._get_queryset_methods(QuerySet).keys()
    added = {
        name
        for name, value in vars(BaseManager).items()
        if getattr(value, "__module__", "").startswith("django_layercache")
    }
    assert added == OURS
    assert not [name for name in dir(Manager) if "layercache" in name.lower()]


def test_no_signal_has_a_receiver_of_ours_and_no_statement_a_wrapper():
    every = [
        *(value for value in vars(signals).values() if hasattr(value, "receivers")),
        backend_signals.connection_created, request_started, request_finished,
    ]  # fmt: skip
    ours = [
        receiver
        for signal in every
        for _, receiver, *_ in signal.receivers
        if "layercache" in repr(receiver) or "layercache" in getattr(receiver, "__module__", "")
    ]
    assert ours == []
    assert all(connection.execute_wrappers == [] for connection in connections.all())


# -- statements ------------------------------------------------------------------------------------
def save_again(w):
    w.one.save()


STATEMENTS = {
    "save": (save_again, 1),
    "create": (lambda w: w.new(Tag, name="new"), 1),
    "save with a chosen key": (lambda w: Country(code="DE", name="x").save(using=w.alias), 2),
    "update": (lambda w: w.all().filter(title="one").update(views=F("views") + 1), 1),
    "delete": (lambda w: Comment.objects.using(w.alias).get(pk=w.comment.pk).delete(), 2),
    "fast delete": (lambda w: w.all(Comment).filter(text="first").delete(), 1),
    "bulk_create": (lambda w: w.all(Tag).bulk_create([Tag(name=f"{n}") for n in range(10)]), 1),
    "bulk_update": (lambda w: w.all().bulk_update([w.one, w.two], ["title"]), 1),
    "upsert": (
        lambda w: w.all(Tag).bulk_create(
            [Tag(name="red")], update_conflicts=True, update_fields=["name"], unique_fields=["name"]
        ),
        1,
    ),
    "many to many": (lambda w: w.three.tags.add(w.red), 1),
    "raw": (lambda w: w.execute("UPDATE testapp_post SET views = 1"), 1),
    "get_or_create": (lambda w: w.all(Tag).get_or_create(name="red"), 1),
    "a read": (lambda w: list(w.all().select_related("author")), 1),
    "a cached read": (lambda w: list(w.all().cached()), 1),
    "a hit": (lambda w: list(w.all().order_by("pk").cached()), 0),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_is_not_accompanied_by_others(local_world, name):
    run, expected = STATEMENTS[name]
    w = local_world
    list(w.all().order_by("pk").cached())
    with CaptureQueriesContext(w.connection) as captured:
        run(w)
    statements = [
        q["sql"] for q in captured if q["sql"].split()[0] not in {"BEGIN", "SAVEPOINT", "RELEASE"}
    ]
    statements = [sql for sql in statements if sql != "COMMIT"]
    assert len(statements) == expected, statements


def test_deletes_stay_fast(local_world):
    w = local_world
    from django.db.models.deletion import Collector

    assert Collector(using=w.alias).can_fast_delete(w.all(Comment))
    assert Collector(using=w.alias).can_fast_delete(w.all(Tag.posts.through))


def test_deferred_fields_are_not_fetched_by_a_write(local_world):
    w = local_world
    post = w.all().only("title").get(pk=w.one.pk)
    post.title = "changed"
    with CaptureQueriesContext(w.connection) as captured:
        post.save()
    assert len(captured) == 1
    assert "body" in post.get_deferred_fields()


def test_an_update_says_how_many_rows_and_a_delete_of_which_models(local_world):
    w = local_world
    assert w.all().update(views=1) == 3
    assert w.all().filter(pk=-1).update(views=1) == 0
    assert w.all(Comment).filter(text="first").delete() == (1, {"testapp.Comment": 1})
    made = w.all(Tag).bulk_create([Tag(name="a"), Tag(name="b")])
    assert all(tag.pk for tag in made)


# -- types -----------------------------------------------------------------------------------------
READS = {
    "instances": lambda w: list(w.all()),
    "values": lambda w: list(w.all().values()),
    "tuples": lambda w: list(w.all().values_list()),
    "named tuples": lambda w: list(w.all().values_list("pk", "title", named=True)),
    "flat": lambda w: list(w.all().values_list("published", flat=True)),
    "dates": lambda w: list(w.all().dates("published", "month")),
    "aggregate": lambda w: [w.all().aggregate(Sum("views"), n=Count("*"))],
    "bulk": lambda w: [w.all().in_bulk()],
    "exists": lambda w: [w.all().exists(), w.all().count()],
}


def types(value):
    if isinstance(value, dict):
        return (type(value), {key: types(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return (
            type(value).__mro__[1:] if hasattr(value, "_fields") else type(value),
            [types(item) for item in value],
        )
    if isinstance(value, Post):
        state = {key: item for key, item in vars(value).items() if key != "_state"}
        return (
            type(value),
            types(state),
            vars(value._state).keys(),
            value._state.db,
            value._state.adding,
        )
    return type(value)


@pytest.mark.parametrize("name", READS)
def test_a_hit_has_the_types_of_the_database_driver(world, name):
    read = READS[name]
    with cached_queries():
        miss, hit = types(read(world)), types(read(world))
    assert miss == hit == types(read(world))
    assert cached(read, world) == uncached(read, world)


def test_a_cached_queryset_is_a_queryset_like_others(local_world):
    w = local_world
    queryset = w.all().order_by("pk").cached(timeout=60)
    assert type(queryset) is QuerySet
    assert queryset._result_cache is None
    assert pickle.loads(pickle.dumps(queryset.query)).__class__ is queryset.query.__class__
    assert [post.pk for post in pickle.loads(pickle.dumps(queryset))] == [
        post.pk for post in queryset
    ]
    assert str(queryset.query) == str(w.all().order_by("pk").query)
    assert list(queryset.filter(title="one")) == [w.one]
    assert w.all().cached().update(views=5) == 3
    assert list(w.all(Author).filter(posts__in=queryset).distinct().order_by("pk")) == [
        w.ada,
        w.bob,
    ]


# -- whose rows they are ---------------------------------------------------------------------------
def test_what_a_caller_does_to_its_results_no_other_sees(world):
    def read(w):
        return [
            list(w.all().order_by("pk")),
            list(w.all().order_by("pk").values()),
            w.all().aggregate(n=Sum("views")),
            w.all().in_bulk([w.one.pk]),
        ]

    expected = cached(read, world)
    for _ in range(2):
        with cached_queries():
            posts, rows, sums, by_key = read(world)
        posts[0].title = "mine"
        del posts[1:]
        rows[0]["title"] = "mine"
        rows.clear()
        sums["n"] = -1
        by_key.clear()
        assert cached(read, world) == expected


def test_what_a_caller_does_to_prefetched_rows_no_other_sees(world):
    def read(w):
        newest = Prefetch("comments", Comment.objects.order_by("pk"), to_attr="in_order")
        return list(w.all().order_by("pk").prefetch_related(newest, "tags", "author"))

    with cached_queries():
        mine, others = read(world), read(world)
        assert mine[0].in_order[0] is not others[0].in_order[0]
        mine[0].in_order[0].text = "mine"
        mine[0].in_order.clear()
        mine[0].author.name = "mine"
        again = read(world)
    for posts in (others, again):
        assert posts[0].in_order[0].text == "first"
        assert posts[0].author.name == "Ada"


def test_on_commit_hooks_run_once_and_in_order(local_world):
    w = local_world
    seen = []
    with transaction.atomic(w.alias):
        for number in range(3):
            transaction.on_commit(lambda number=number: seen.append(number), using=w.alias)
        w.all().update(views=1)
        assert seen == []
    assert seen == [0, 1, 2]
