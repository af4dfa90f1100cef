"""Pages that are stored, whether by the middleware or by ``cache_view``."""

import threading

import pytest
from django.test import Client

from django_layercache import trace
from tests.pages.urls import asked
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)


def status_of(response):
    return response.headers["Cache-Status"]


def test_the_second_request_is_answered_from_the_store(front, client):
    first, second = client.get(f"{front}plain/"), client.get(f"{front}plain/")
    assert first.content == second.content == b"plain 1 "
    assert status_of(first).startswith("layercache; fwd=miss; stored; ttl=")
    assert status_of(second).startswith("layercache; hit; ttl=")


def test_the_query_string_tells_pages_apart(front, client):
    assert client.get(f"{front}plain/?q=a").content == b"plain 1 a"
    assert client.get(f"{front}plain/?q=b").content == b"plain 2 b"


def test_hosts_tell_pages_apart(front, client):
    client.get(f"{front}plain/", headers={"host": "one.test"})
    assert client.get(f"{front}plain/", headers={"host": "two.test"}).content == b"plain 2 "


def test_the_scheme_tells_pages_apart(front, client):
    client.get(f"{front}plain/")
    assert client.get(f"{front}plain/", secure=True).content == b"plain 2 "


def test_a_page_keeps_status_reason_headers_and_charset(front, client):
    client.get(f"{front}headers/")
    response = client.get(f"{front}headers/")
    assert "hit" in status_of(response)
    assert (response.status_code, response.reason_phrase) == (200, "Fine")
    assert response.headers["Content-Type"] == "text/plain; charset=latin-1"
    assert response.headers["X-Own"] == "kept"
    assert response.content == "é".encode("latin-1")


@pytest.mark.parametrize("name", ("authors", "rendered", "aauthors", "arendered"))
def test_a_page_is_built_again_when_what_it_read_has_changed(front, client, name):
    client.get(f"{front}{name}/")
    assert "hit" in status_of(client.get(f"{front}{name}/"))
    Author.objects.create(name="Ada")
    response = client.get(f"{front}{name}/")
    assert "fwd=miss; stored" in status_of(response)
    assert response.content.startswith(b"Ada")


def test_a_head_request_is_answered_by_the_page_of_get(front, client):
    page = client.get(f"{front}plain/")
    response = client.head(f"{front}plain/")
    assert "hit" in status_of(response)
    assert response.content == b""
    assert response.headers["Content-Type"] == page.headers["Content-Type"]
    assert asked["plain"] == 1


def test_a_head_request_stores_nothing(front, client):
    client.head(f"{front}plain/")
    assert client.get(f"{front}plain/").content == b"plain 2 "


@pytest.mark.parametrize("method", ("post", "put", "delete", "options", "patch"))
def test_other_methods_neither_use_nor_make_pages(front, client, method):
    client.get(f"{front}plain/")
    response = getattr(client, method)(f"{front}plain/")
    assert response.content == b"plain 2 "
    assert status_of(response) == "layercache; fwd=method"
    assert client.get(f"{front}plain/").content == b"plain 1 "


def test_a_get_with_a_body_goes_by_the_store(front, client):
    response = client.generic("GET", f"{front}plain/", b"q=evil")
    assert "fwd=bypass" in status_of(response)
    assert client.get(f"{front}plain/").content == b"plain 2 "


@pytest.mark.parametrize("code", (201, 204, 301, 302, 404, 410, 500))
def test_only_a_plain_success_is_stored(site, client, code):
    client.get(f"/status/{code}/")
    response = client.get(f"/status/{code}/")
    assert asked["status"] == 2
    assert "its status is not 200" in status_of(response)


def test_an_exception_is_not_stored(front, client):
    with pytest.raises(ValueError, match="once"):
        client.get(f"{front}fail/")
    assert client.get(f"{front}fail/").content == b"fine"


def test_a_stream_is_not_stored(front, client):
    client.get(f"{front}stream/").getvalue()
    assert client.get(f"{front}stream/").getvalue() == b"stream 2"


def test_never_cache_is_obeyed(front, client):
    response = client.get(f"{front}never/")
    assert "no-store" in response.headers["Cache-Control"]
    assert client.get(f"{front}never/").content == b"never 2"


def test_no_cache_is_obeyed(front, client):
    client.get(f"{front}not_stored/")
    assert client.get(f"{front}not_stored/").content == b"not stored 2"


@pytest.mark.parametrize("say", ("private", "no-store", "no-cache", "max-age=60, PRIVATE"))
def test_a_page_that_forbids_it_is_not_stored(front, client, say):
    client.get(f"{front}own/", {"say": say})
    response = client.get(f"{front}own/", {"say": say})
    assert response.content == b"own 2"
    assert response.headers["Cache-Control"] == say
    assert "its own headers forbid it" in status_of(response)


def test_vary_on_everything_is_not_stored(front, client):
    client.get(f"{front}everything/")
    assert client.get(f"{front}everything/").content == b"everything 2"


def test_pages_differ_by_the_headers_that_they_vary_on(front, client):
    def taste(flavour):
        headers = {"x-flavour": flavour} if flavour is not None else {}
        return client.get(f"{front}flavour/", headers=headers).content

    assert taste("sweet") == b"sweet 1"
    assert taste("sour") == b"sour 2"
    assert taste(None) == b"None 3"
    assert taste("") == b" 4"
    assert [taste("sweet"), taste("sour"), taste(None)] == [b"sweet 1", b"sour 2", b"None 3"]


def test_a_hot_hit_reads_the_store_once(front, client):
    from django_layercache.handlers import get_engine

    client.get(f"{front}flavour/")
    store = get_engine().store
    reads = []
    read = store.read
    store.read = lambda *args: reads.append(args) or read(*args)
    assert "hit" in status_of(client.get(f"{front}flavour/"))
    assert len(reads) == 1


def test_another_process_finds_the_page_by_the_hint(front, client):
    from django_layercache.pages import visits

    client.get(f"{front}flavour/", headers={"x-flavour": "sweet"})
    visits._VARIANTS.clear()
    response = client.get(f"{front}flavour/", headers={"x-flavour": "sweet"})
    assert "hit" in status_of(response)


def test_a_wrong_memory_of_the_headers_is_only_a_miss(front, client):
    from django_layercache.pages import visits

    client.get(f"{front}flavour/", headers={"x-flavour": "sweet"})
    (url,) = visits._VARIANTS._headers
    visits._VARIANTS.learn(url, [])
    response = client.get(f"{front}flavour/", headers={"x-flavour": "sour"})
    assert response.content == b"sour 2"
    visits._VARIANTS.learn(url, ["HTTP_X_OTHER"])
    assert client.get(f"{front}flavour/", headers={"x-flavour": "salty"}).content == b"salty 3"


def test_a_head_or_tail_of_the_bytes_is_a_miss(front, client):
    from django_layercache.handlers import get_engine
    from django_layercache.stores.base import Entry

    client.get(f"{front}plain/")
    store = get_engine().store
    for key, slot in list(store._entries.slots.items()):
        store.write(key, Entry(slot.entry.tokens, b"evil"), None)
    assert client.get(f"{front}plain/").content == b"plain 2 "


def test_the_cache_can_be_switched_off(front, client, settings):
    settings.LAYERCACHE = {"ENABLED": False}
    client.get(f"{front}plain/")
    response = client.get(f"{front}plain/")
    assert response.content == b"plain 2 "
    assert "Cache-Status" not in response.headers


def test_a_page_depends_on_the_views_inside_of_it(site, client):
    client.get("/cached/authors/")
    with trace() as events:
        client.get("/cached/authors/")
    assert [(event.layer, event.outcome) for event in events] == [("pages", "hit")]
    Author.objects.create(name="Ada")
    response = client.get("/cached/authors/")
    assert response.content == b"Ada"
    assert status_of(response).count("fwd=miss; stored") == 2


def test_a_page_around_a_view_that_was_a_hit_is_stored(site, client):
    from django_layercache.handlers import get_engine

    client.get("/cached/authors/")
    store = get_engine().store
    for key in [key for key in store._entries.slots if ".site." in key]:
        store.delete(key)
    response = client.get("/cached/authors/")
    first, second = status_of(response).split(", ")
    assert "hit" in first
    assert "fwd=miss; stored" in second
    assert status_of(client.get("/cached/authors/")).count("layercache") == 1
    Author.objects.create(name="Ada")
    assert client.get("/cached/authors/").content == b"Ada"


@pytest.mark.parametrize(
    "url",
    ("/decorated/", "/dispatched/", "/as_view/", "/adecorated/", "/adispatched/", "/aas_view/"),
)
def test_class_based_views_are_cached(client, url):
    first, second = client.get(url), client.get(url)
    assert first.content == second.content
    assert "hit" in status_of(second)


def test_a_class_based_view_still_answers_post(client):
    client.get("/decorated/")
    assert client.post("/decorated/").content == b"Decorated 2"


def test_one_of_many_threads_builds(front, client, monkeypatch):
    from django.http import HttpResponse

    from tests.pages import urls

    inside, go = threading.Event(), threading.Event()

    def slow(name):
        inside.set()
        go.wait(5)
        asked[name] += 1
        return asked[name]

    monkeypatch.setattr(urls, "count", slow)
    contents = []
    threads = [
        threading.Thread(target=lambda: contents.append(Client().get(f"{front}flavour/").content))
        for _ in range(4)
    ]
    threads[0].start()
    inside.wait(5)
    for thread in threads[1:]:
        thread.start()
    threading.Event().wait(0.2)
    go.set()
    for thread in threads:
        thread.join(5)
    assert contents == [b"None 1"] * 4
    assert HttpResponse
