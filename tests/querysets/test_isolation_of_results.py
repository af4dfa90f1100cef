"""What a caller does to a result is his own business: nobody else gets to see it, on any store."""

import asyncio

import pytest
from asgiref.sync import async_to_sync
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import F
from django.db.models.functions import JSONArray, JSONObject

from django_layercache import cached as cached_function
from django_layercache import cached_queries, trace
from tests.querysets.conftest import POSTGRES, SQLITE, use_store
from tests.querysets.world import World, plain
from tests.testapp.models import Author, Post


@pytest.fixture(
    params=[
        pytest.param(("default", "local"), marks=SQLITE.marks, id="sqlite and local"),
        pytest.param(("default", "redis"), marks=SQLITE.marks, id="sqlite and redis"),
        pytest.param(("postgres", "local"), marks=POSTGRES.marks, id="postgres and local"),
        pytest.param(("postgres", "near"), marks=POSTGRES.marks, id="postgres and near"),
    ]
)
def world(request, settings):
    alias, store = request.param
    near = {"NEAR": {"freshness": "strict"}} if store == "near" else {}
    use_store(request, settings, "redis" if near else store, **near)
    return World(alias)


def instances(w):
    return list(w.all().select_related("author").prefetch_related("tags").order_by("pk"))


def change_instances(found):
    found[0].title = found[0].author.name = "spoilt"
    found[0].extra = found[0]._state
    found[0].tags.all()[0].name = "spoilt"
    found.pop()


def dictionaries(w):
    return list(
        w.all().order_by("pk").values("title", told=JSONObject(title="title", of=F("views")))
    )


def change_dictionaries(found):
    found[0]["told"]["title"] = found[0]["title"] = "spoilt"
    found[0]["told"].pop("of")
    found.append(None)


def tuples(w):
    told = JSONObject(inner=JSONObject(title="title"))
    return list(w.all().order_by("pk").values_list("pk", told))


def change_tuples(found):
    found[0][1]["inner"]["title"] = "spoilt"
    found.clear()


def arrays(w):
    titles = ArrayAgg("posts__title", order_by="posts__pk")
    told = titles if w.alias == "postgres" else JSONArray("name", "name")
    return [author.told for author in w.all(Author).order_by("pk").annotate(told=told)]


def change_arrays(found):
    found[0].append("spoilt")
    found[1][0] = "spoilt"


KINDS = [
    (instances, change_instances),
    (dictionaries, change_dictionaries),
    (tuples, change_tuples),
    (arrays, change_arrays),
]
kinds = pytest.mark.parametrize(("read", "change"), KINDS, ids=lambda value: value.__name__)


@kinds
def test_what_a_queryset_returns_is_its_callers_own(world, read, change):
    expected = plain(read(world))
    with cached_queries():
        for _ in range(4):  # a miss, hits, and what a store may have kept of them
            with trace() as events:
                found = read(world)
            assert plain(found) == expected
            change(found)
    assert {event.outcome for event in events} == {"hit"}


@kinds
def test_what_a_function_returns_is_its_callers_own(world, read, change):
    @cached_function
    def found():
        return read(world)

    expected = plain(read(world))
    for _ in range(4):
        with trace() as events:
            value = found()
        assert plain(value) == expected
        change(value)
    assert events[-1].outcome == "hit"


def test_what_coroutines_get_at_the_same_time_is_each_ones_own(world):
    posts = Post.objects.using(world.alias)

    @cached_function
    async def found():
        return [post async for post in posts.order_by("pk").values("title")]

    async def ask():
        first = await posts.cached().aget(title="one")
        told = await posts.order_by("pk").cached().values(told=JSONObject(title="title")).afirst()
        function = await found()
        seen = (first.title, told, function[0]["title"], await posts.cached().acount())
        seen = (seen[0], dict(seen[1]["told"]), *seen[2:])
        first.title = told["told"]["title"] = function[0]["title"] = "spoilt"
        return seen

    async def story():
        with trace() as events:
            answers = [
                answer for _ in range(3) for answer in await asyncio.gather(ask(), ask(), ask())
            ]
        return answers, {event.outcome for event in events[-4:]}

    answers, last = async_to_sync(story)()
    assert answers == [("one", {"title": "one"}, "one", 3)] * 9
    assert last == {"hit"}
