"""The same under ASGI: no thread in between, and nobody waits for what is not for him."""

import asyncio

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.test import AsyncClient

from django_layercache.middleware import LayerCacheMiddleware
from tests.pages import urls
from tests.pages.urls import asked
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = pytest.mark.parametrize("name", ("plain", "aplain"))


def run(story):
    return async_to_sync(story)()


def status_of(response):
    return response.headers["Cache-Status"]


@NAMES
def test_the_second_request_is_answered_from_the_store(front, name):
    async def story():
        client = AsyncClient()
        return [await client.get(f"{front}{name}/") for _ in range(2)]

    first, second = run(story)
    assert first.content == second.content
    assert "hit" in status_of(second)
    assert asked[name] == 1


@pytest.mark.parametrize("name", ("authors", "aauthors", "rendered", "arendered"))
def test_a_page_is_built_again_when_what_it_read_has_changed(front, name):
    async def story():
        client = AsyncClient()
        await client.get(f"{front}{name}/")
        hit = await client.get(f"{front}{name}/")
        await Author.objects.acreate(name="Ada")
        return hit, await client.get(f"{front}{name}/")

    hit, new = run(story)
    assert "hit" in status_of(hit)
    assert new.content.startswith(b"Ada")


def test_one_of_many_tasks_builds(front, monkeypatch):
    async def slow(request):
        asked["slow"] += 1
        await asyncio.sleep(0.1)
        return urls.HttpResponse(f"slow {asked['slow']}")

    from django.urls import path

    from django_layercache.decorators import cache_view

    monkeypatch.setattr(
        urls, "urlpatterns", [path("slow/", slow), path("cached/slow/", cache_view(slow))]
    )
    from django.urls import clear_url_caches

    clear_url_caches()

    async def story():
        return await asyncio.gather(*(AsyncClient().get(f"{front}slow/") for _ in range(4)))

    contents = [response.content for response in run(story)]
    clear_url_caches()
    assert contents == [b"slow 1"] * 4


@pytest.mark.parametrize("name", ("greeting", "agreeting"))
def test_a_page_for_a_user_is_not_shared(front, ada, name):
    async def story():
        member = AsyncClient()
        await member.aforce_login(ada)
        return [
            (await client.get(f"{front}{name}/")).content
            for client in (member, AsyncClient(), member, AsyncClient())
        ]

    assert run(story) == [b"Hello ada", b"Hello stranger"] * 2


def test_logging_in_is_not_stored(front, ada):
    async def story():
        client = AsyncClient()
        await client.get(f"{front}alog_in/")
        return await AsyncClient().get(f"{front}agreeting/")

    assert run(story).content == b"Hello stranger"


def test_the_middleware_is_a_coroutine_function_where_the_site_is():
    async def respond(request):
        return None

    assert iscoroutinefunction(LayerCacheMiddleware(respond))
    assert not iscoroutinefunction(LayerCacheMiddleware(lambda request: None))


def test_a_decorated_async_view_is_a_coroutine_function():
    from django_layercache.decorators import cache_view

    assert iscoroutinefunction(cache_view(urls.aplain))
    assert iscoroutinefunction(urls.AsyncDecorated.as_view())
    assert not iscoroutinefunction(cache_view(urls.plain))
