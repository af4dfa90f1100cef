"""Every layer on a store behind the network: hits, freshness, and async code."""

import asyncio
from io import StringIO
from time import sleep

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import caches
from django.core.management import call_command
from django.template import Context, Template
from django.test import AsyncClient, Client

from django_layercache import conf
from django_layercache.aliases import client_of
from django_layercache.decorators import cached
from django_layercache.handlers import engines, get_engine
from django_layercache.pages import visits
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.memcached_commands import Get, Set
from tests.pages import urls
from tests.pages.conftest import INSIDE, SITE
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)


SERVERS = {"memcached": "memcached_server", "cluster": "redis_cluster"}


@pytest.fixture(params=["redis", "django_redis", "cluster", "memcached"])
def shared(request, settings):
    server = request.getfixturevalue(SERVERS.get(request.param, "redis_server"))
    if request.param == "cluster":
        named = {"BACKEND": "tests.stores.clustered.ClusterCache", "LOCATION": server.url}
        settings.CACHES = {**settings.CACHES, "cluster": named}
    settings.LAYERCACHE = {"CACHE": request.param, "NAMESPACE": request.node.name, "GRACE": 0}
    settings.ROOT_URLCONF = "tests.pages.urls"
    settings.MIDDLEWARE = [SITE, *INSIDE]
    visits._VARIANTS.clear()
    until_trusted(get_engine())
    yield
    get_engine().store.reset()
    engines.reset()


def until_trusted(engine):
    while engine.outages.in_debt:
        sleep(0.01)
    engine.store.end_grace(engine.store.read(None, ()).sequence)


def test_functions(shared):
    calls = []

    @cached
    def names(prefix):
        calls.append(prefix)
        return list(Author.objects.filter(name__startswith=prefix).values_list("name", flat=True))

    assert names("A") == names("A") == []
    Author.objects.create(name="Ada")
    assert names("A") == ["Ada"]
    assert names.get_many([("A",), ("B",)]) == [["Ada"], []]
    names.invalidate("A")
    names("A"), names("B")
    assert calls == ["A", "A", "B", "A"]


def test_coroutine_functions(shared):
    calls = []

    @cached
    async def count():
        calls.append(1)
        await asyncio.sleep(0)
        return len(calls)

    async def story():
        first = [await count(), *await asyncio.gather(*(count() for _ in range(3)))]
        await count.invalidate()
        return first, await count()

    assert async_to_sync(story)() == ([1, 1, 1, 1], 2)


def test_fragments(shared):
    template = Template(
        "{% load layercache %}{% layercache 600 'x' %}{{ authors|length }}{% endlayercache %}"
    )

    def shown():
        return template.render(Context({"authors": Author.objects.all()}))

    assert shown() == shown() == "0"
    Author.objects.create(name="Ada")
    assert shown() == "1"


def test_pages(shared, client):
    client.get("/greeting/")
    assert "hit" in client.get("/greeting/").headers["Cache-Status"]
    client.get("/authors/")
    Author.objects.create(name="Ada")
    assert client.get("/authors/").content == b"Ada"
    visits._VARIANTS.clear()
    assert "hit" in client.get("/authors/").headers["Cache-Status"]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("in_another_process", [False, True])
def test_what_pages_differed_by_is_forgotten_where_the_cache_is_cleared(
    shared, monkeypatch, is_async, in_another_process
):
    def ask(flavour):
        headers = {"x-flavour": flavour}
        get = async_to_sync(AsyncClient().get) if is_async else Client().get
        return get("/redeployed/", headers=headers).headers

    ask("sweet")
    monkeypatch.setattr(urls, "varies", [])
    assert "X-Flavour" in ask("sour")["Vary"]  # or some would not find what others have stored
    call_command("layercache", "clear", stdout=StringIO())
    if in_another_process:
        visits._VARIANTS.clear()
    assert "X-Flavour" not in ask("sweet").get("Vary", "")
    assert "hit" in ask("sour")["Cache-Status"]


def test_async_pages(shared):
    async def story():
        client = AsyncClient()
        await client.get("/aauthors/")
        hit = await client.get("/aauthors/")
        await Author.objects.acreate(name="Ada")
        return hit, await client.get("/aauthors/")

    hit, new = async_to_sync(story)()
    assert "hit" in hit.headers["Cache-Status"]
    assert new.content == b"Ada"


def test_tampered_bytes_are_a_miss_in_every_layer(shared, client):
    @cached
    def function():
        return "value"

    template = Template("{% load layercache %}{% layercache 600 'x' %}y{% endlayercache %}")
    for _ in range(3):
        assert function() == "value"
        assert template.render(Context()) == "y"
        assert client.get("/authors/").content == b""
        _tamper(get_engine().store)


def _tamper(store):
    """Put something in front of every entry."""
    if isinstance(store, MemcachedStore):
        _tamper_memcached(store)
        return
    redis = client_of(caches[conf.get("CACHE")])
    for key in redis.scan_iter():
        if redis.type(key) == b"string":
            data = redis.get(key)
            redis.set(key, b"evil" + data, keepttl=True)


def _tamper_memcached(store):
    def tamper(identity):
        (items,) = yield [Get(tuple(names))]
        yield [Set(name, b"evil" + item.value) for name, item in items.items()]

    names = [store._keys.entry(key) for key in store._remembered]
    store._first.run(tamper)
