"""What a page says to browsers and proxies."""

import re

import pytest
from django.test import Client

from tests.pages.conftest import INSIDE, SITE
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)


def status_of(response):
    return response.headers["Cache-Status"]


def twice(client, url, **options):
    return client.get(url, **options), client.get(url, **options)


def test_a_page_that_says_nothing_is_asked_for_again(front, client):
    for response in twice(client, f"{front}plain/"):
        assert response.headers["Cache-Control"] == "no-cache"
        assert "Expires" not in response.headers
        assert "Age" not in response.headers


def test_asking_again_is_cheap(front, client):
    first, second = twice(client, f"{front}plain/")
    etag = first.headers["ETag"]
    assert second.headers["ETag"] == etag
    response = client.get(f"{front}plain/", headers={"if-none-match": etag})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == etag
    assert response.headers["Cache-Control"] == "no-cache"
    assert "hit" in status_of(response)


def test_a_changed_page_is_sent_again(front, client):
    etag = client.get(f"{front}authors/").headers.get("ETag")
    Author.objects.create(name="Ada")
    etag = client.get(f"{front}authors/").headers["ETag"]
    Author.objects.create(name="Bob")
    response = client.get(f"{front}authors/", headers={"if-none-match": etag})
    assert (response.status_code, response.content) == (200, b"Ada, Bob")


def test_a_request_with_a_condition_fills_the_store(front, client):
    response = client.get(f"{front}plain/", headers={"if-none-match": '"x"'})
    assert "stored" in status_of(response)
    assert "hit" in status_of(client.get(f"{front}plain/"))


def test_a_page_with_a_max_age_keeps_it(front, client):
    first, second = twice(client, f"{front}own/?say=max-age%3D20")
    for response in (first, second):
        assert response.headers["Cache-Control"] == "max-age=20"
    assert "hit" in status_of(second)
    assert int(second.headers["Age"]) <= 20


def test_a_max_age_bounds_how_long_the_site_keeps_a_page(site, client):
    first = client.get("/own/?say=max-age%3D20")
    assert "ttl=20" in status_of(first)


@pytest.mark.parametrize("name", ("brief", "brief/longer"))
def test_the_site_keeps_a_page_no_longer_than_its_view_does(site, client, settings, name):
    settings.LAYERCACHE = {"TIMEOUT": 300}
    first, second = twice(client, f"/{name}/")
    for response in (first, second):
        assert all(int(ttl) <= 20 for ttl in re.findall(r"ttl=(\d+)", status_of(response)))
    assert "hit; ttl=" in status_of(second)


def test_the_site_keeps_no_page_whose_view_keeps_none(site, client):
    first, second = twice(client, "/unkept/")
    assert (first.content, second.content) == (b"plain 1 ", b"plain 2 ")


def test_a_max_age_of_zero_is_not_stored_by_the_site(site, client):
    first, second = twice(client, "/own/?say=max-age%3D0")
    assert second.content == b"own 2"
    assert second.headers["Cache-Control"] == "max-age=0"
    assert first.headers["Cache-Control"] == "max-age=0"


@pytest.mark.parametrize("say", ("public", "must-revalidate", "s-maxage=9", "stale-if-error=60"))
def test_a_page_is_not_made_to_promise_more_than_it_said(front, client, say):
    for response in twice(client, f"{front}own/", data={"say": say}):
        assert response.headers["Cache-Control"] == say
        assert "Expires" not in response.headers


def test_an_error_page_is_left_as_it_is(site, client):
    response = client.get("/status/404/")
    assert "Cache-Control" not in response.headers
    assert "ETag" not in response.headers


def test_other_methods_are_left_as_they_are(front, client):
    assert "Cache-Control" not in client.post(f"{front}plain/").headers


def test_a_private_page_is_asked_for_again_too(front, ada, client):
    client.force_login(ada)
    response = client.get(f"{front}greeting/")
    assert response.headers["Cache-Control"] == "private, no-cache"
    etag = response.headers["ETag"]
    again = client.get(f"{front}greeting/", headers={"if-none-match": etag})
    assert again.status_code == 304
    assert again.headers["Cache-Control"] == "private, no-cache"


def test_the_status_is_a_structured_field(front, client):
    string = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\\"])*"'
    parameter = rf"; (?:hit|stored|fwd=[a-z-]+|ttl=\d+|detail={string})"
    member = rf"layercache(?:{parameter})+"
    for url in ("plain", "never", "form", "stream", "cookie"):
        for method in (client.get, client.get, client.post):
            assert re.fullmatch(rf"{member}(?:, {member})*", status_of(method(f"{front}{url}/")))


def test_compressed_pages_are_kept_apart(settings, client):
    settings.MIDDLEWARE = [SITE, "django.middleware.gzip.GZipMiddleware", *INSIDE]
    url = "/plain/?q=" + "x" * 500
    zipped = client.get(url, headers={"accept-encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    plain = client.get(url)
    assert "Content-Encoding" not in plain.headers
    again = client.get(url, headers={"accept-encoding": "gzip"})
    assert "hit" in status_of(again)
    assert again.content == zipped.content


def test_forwarded_headers_do_not_choose_the_host_unless_told_so(front, client, settings):
    client.get(f"{front}plain/")
    response = client.get(f"{front}plain/", headers={"x-forwarded-host": "evil.test"})
    assert "hit" in status_of(response)
    settings.USE_X_FORWARDED_HOST = True
    response = client.get(f"{front}plain/", headers={"x-forwarded-host": "evil.test"})
    assert response.content == b"plain 2 "


def test_a_host_that_is_not_allowed_is_refused(site, settings):
    settings.ALLOWED_HOSTS = ["good.test"]
    assert Client().get("/plain/", headers={"host": "evil.test"}).status_code == 400


def test_a_timeout_of_zero_stores_nothing(site, client, settings):
    settings.LAYERCACHE = {"TIMEOUT": 0}
    assert [r.content for r in twice(client, "/plain/")] == [b"plain 1 ", b"plain 2 "]


def test_a_timeout_of_none_keeps_for_ever(site, client, settings):
    settings.LAYERCACHE = {"TIMEOUT": None}
    first, second = twice(client, "/plain/")
    assert status_of(first) == "layercache; fwd=miss; stored"
    assert status_of(second) == "layercache; hit"


class Forbidding:
    """A middleware that has the last word about some pages."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        from django.utils.cache import add_never_cache_headers

        response = self.get_response(request)
        add_never_cache_headers(response)
        return response


def test_what_a_middleware_adds_to_a_cached_view_is_obeyed(settings, client):
    settings.MIDDLEWARE = [SITE, "tests.pages.test_headers.Forbidding", *INSIDE]
    client.get("/cached/plain/")
    response = client.get("/cached/plain/")
    assert status_of(response).startswith("layercache; hit")
    assert "its own headers forbid it" in status_of(response).rpartition(", ")[2]
    assert "no-store" in response.headers["Cache-Control"]
