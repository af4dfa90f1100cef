"""Tenants never share an entry, and do not invalidate each other's where each has rows of its own."""

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory

from django_layercache import cache_view, invalidate, tags, trace
from django_layercache import cached as cached_function
from tests.querysets.conftest import POSTGRES, use_store
from tests.querysets.world import World, cached, elsewhere, is_hit, outcomes, tags_of, warm
from tests.testapp.models import Author, Post

pytestmark = POSTGRES.marks[0]

_tenant = ContextVar("tenant", default=None)
TENANTS = {"TENANT": "tests.querysets.test_tenants.current", "TENANT_MODELS": ["testapp.Post"]}


def current():
    return _tenant.get()


@contextmanager
def tenant(name, schema=None):
    """Run as *name*, with its schema in front of those of all, on this thread's connection."""
    reset = _tenant.set(name)
    with connections["postgres"].cursor() as cursor:
        cursor.execute(f"SET search_path TO {schema or name or 'public'}, public")
        try:
            yield
        finally:
            _tenant.reset(reset)
            if connections["postgres"].connection is not None:
                cursor.execute("SET search_path TO public")


@pytest.fixture
def world(request, settings):
    use_store(request, settings, "redis", **TENANTS)
    world = World("postgres")
    for name in ("red", "blue"):
        world.execute(f"CREATE SCHEMA {name}")
        world.execute(f"CREATE TABLE {name}.testapp_post (LIKE testapp_post INCLUDING ALL)")
        with tenant(name):
            world.new(Post, pk=1, title=f"of {name}", author=world.ada)
    yield world
    world.connection.close()
    for name in ("red", "blue"):
        world.execute(f"DROP SCHEMA {name} CASCADE")


def titles(w):
    return list(w.all().order_by("pk").values_list("title", flat=True))


def row(w):
    return w.all().get(pk=1).title


def names(w):
    return list(w.all(Author).order_by("pk").values_list("name", flat=True))


def as_tenant(name, function, *args):
    with tenant(name):
        return function(*args)


# -- keys ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("read", (titles, row, names))
def test_tenants_do_not_share_entries(world, read):
    as_tenant("red", warm, read, world)
    assert as_tenant("blue", outcomes, read, world) == ["miss"]
    assert as_tenant("red", is_hit, read, world)


def test_each_tenant_gets_its_own_rows(world):
    for _ in range(2):
        assert as_tenant("red", cached, titles, world) == ["of red"]
        assert as_tenant("blue", cached, titles, world) == ["of blue"]
        assert as_tenant("blue", cached, names, world) == ["Ada", "Bob"]


def test_names_of_tenants_may_be_anything(world):
    for name in ("Red", "red@blue", "", "x" * 300, "a b\n"):
        with tenant(name, schema="red"):
            assert outcomes(titles, world) == ["miss"]
            assert is_hit(titles, world)


def test_functions_have_entries_for_each_tenant(world):
    @cached_function
    def found():
        return current()

    for _ in range(2):
        assert [as_tenant(name, found) for name in ("red", "blue", None)] == ["red", "blue", None]


def test_fragments_have_entries_for_each_tenant(world):
    template = Template("{% load layercache %}{% layercache 60 'x' %}{{ told }}{% endlayercache %}")
    for _ in range(2):
        for name in ("red", "blue"):
            with tenant(name):
                assert template.render(Context({"told": current()})) == name


def test_pages_have_entries_for_each_tenant(world):
    @cache_view(timeout=60)
    def view(request):
        return HttpResponse(titles(world))

    def page(name):
        with tenant(name):
            response = view(RequestFactory().get("/"))
        return response.content.decode(), "hit" in response["Cache-Status"]

    assert [page("red"), page("blue")] == [("of red", False), ("of blue", False)]
    assert [page("red"), page("blue")] == [("of red", True), ("of blue", True)]


def test_a_page_whose_tenant_is_known_later_is_not_stored(world):
    @cache_view(timeout=60)
    def view(request):
        return HttpResponse(as_tenant(request.headers["tenant"], cached, titles, world))

    def page(name):
        return view(RequestFactory().get("/", headers={"tenant": name})).content.decode()

    assert [page("red"), page("blue"), page("red")] == ["of red", "of blue", "of red"]


# -- tags ------------------------------------------------------------------------------------------
def test_a_write_of_one_tenant_leaves_the_others_entries_alone(world):
    for read in (titles, row):
        as_tenant("red", warm, read, world)
        as_tenant("blue", warm, read, world)
    as_tenant("red", lambda: world.all().update(title="changed"))
    for read, expected in ((titles, ["changed"]), (row, "changed")):
        assert as_tenant("blue", is_hit, read, world)
        assert as_tenant("red", cached, read, world) == expected


def test_a_write_to_what_all_share_is_seen_by_all(world):
    as_tenant("blue", warm, names, world)
    as_tenant("red", lambda: world.all(Author).filter(name="Ada").update(name="Eve"))
    assert as_tenant("blue", cached, names, world) == ["Eve", "Bob"]


def test_models_are_shared_unless_the_settings_say_otherwise(world, settings):
    settings.LAYERCACHE = {**settings.LAYERCACHE, "TENANT_MODELS": []}
    with tenant("green", schema="red"):
        warm(titles, world)
    as_tenant("blue", lambda: world.all().update(title="changed"))
    with tenant("green", schema="red"):
        assert outcomes(titles, world) == ["miss"]


@pytest.mark.parametrize("write", ("a statement", "by hand"))
def test_a_write_without_a_tenant_may_be_any_tenants(world, write):
    for name in ("red", "blue"):
        as_tenant(name, warm, titles, world)
    if write == "by hand":
        invalidate(Post, using="postgres")
    else:
        world.execute("UPDATE red.testapp_post SET title = 'changed'")
        assert as_tenant("red", cached, titles, world) == ["changed"]
    assert as_tenant("blue", outcomes, titles, world) == ["miss"]


def test_who_reads_without_a_tenant_may_read_any_tenants_rows(world):
    with tenant("green", schema="red"):
        warm(titles, world)
    _read_all = lambda w: list(w.all().values_list("title"))  # noqa: E731
    world.connection.close()
    warm(_read_all, world)
    as_tenant("red", lambda: world.all().filter(pk=1).update(title="changed"))
    world.connection.close()
    assert outcomes(_read_all, world) == ["miss"]


def test_what_others_report_without_a_tenant_is_everybodys(world):
    database = "0123abcd"
    changed = set(tags.widened([tags.any_row(database, "testapp_post")]))
    assert tags.database(database) in changed
    assert set(tags.widened([tags.any_row(database, "testapp_author")])) == {
        "0123abcd:testapp_author#*"
    }


def test_the_tenant_is_in_the_tags_of_its_own_tables_alone(world):
    with tenant("red"):
        assert {tag.partition("#")[0] for tag in tags_of(titles, world)} == {"testapp_post@red"}
        assert {tag.partition("#")[0] for tag in tags_of(names, world)} == {"testapp_author"}


# -- where it is told ------------------------------------------------------------------------------
def test_a_transaction_of_one_tenant_does_not_keep_another_from_hits(world):
    as_tenant("blue", warm, titles, world)
    with tenant("red"), transaction.atomic("postgres"):
        world.all().update(title="changed")
        assert cached(titles, world) == ["changed"]
        assert not is_hit(titles, world)
        with tenant("blue"):
            assert is_hit(titles, world)


def test_each_thread_has_its_tenant(world):
    as_tenant("red", warm, titles, world)
    assert elsewhere(as_tenant, "blue", cached, titles, world) == ["of blue"]
    assert elsewhere(as_tenant, "red", is_hit, titles, world)


def test_each_task_has_its_tenant(world):
    @cached_function
    async def found():
        return await sync_to_async(in_its_schema)()

    def in_its_schema():
        with tenant(current()):
            return titles(world)

    async def ask(name):
        _tenant.set(name)
        await asyncio.sleep(0)
        return await found()

    async def story():
        return await asyncio.gather(*map(ask, ("red", "blue", "red")))

    with trace() as events:
        assert async_to_sync(story)() == [["of red"], ["of blue"], ["of red"]]
        assert async_to_sync(story)() == [["of red"], ["of blue"], ["of red"]]
    assert [event.outcome for event in events][-3:] == ["hit"] * 3


def test_a_search_path_is_nobodys_business_but_a_tenants(world):
    world.execute("SET search_path TO red, public")
    assert cached(titles, world) == ["of red"]
    assert not is_hit(titles, world)
    with tenant("red"):
        warm(titles, world)
        world.execute("SET ROLE layercache")
        assert not is_hit(titles, world)
