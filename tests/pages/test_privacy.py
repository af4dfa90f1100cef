"""What belongs to one visitor is shown to no other."""

import django
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import clear_url_caches, path

from django_layercache.decorators import cache_view
from tests.pages import urls
from tests.pages.conftest import INSIDE, SITE
from tests.pages.urls import asked

pytestmark = pytest.mark.django_db(transaction=True)


def status_of(response):
    return response.headers["Cache-Status"]


def member(user):
    client = Client()
    client.force_login(user)
    return client


GREETINGS = pytest.mark.parametrize("name", ("greeting", "agreeting"))


@GREETINGS
def test_a_page_for_a_user_is_not_shown_to_a_stranger(front, ada, name):
    assert member(ada).get(f"{front}{name}/").content == b"Hello ada"
    assert Client().get(f"{front}{name}/").content == b"Hello stranger"


@GREETINGS
def test_a_page_for_a_stranger_is_not_shown_to_a_user(front, ada, name):
    Client().get(f"{front}{name}/")
    assert "hit" in status_of(Client().get(f"{front}{name}/"))
    assert member(ada).get(f"{front}{name}/").content == b"Hello ada"


@GREETINGS
def test_a_page_for_a_user_is_not_shown_to_another_user(front, ada, name):
    bob = User.objects.create_user("bob")
    assert member(ada).get(f"{front}{name}/").content == b"Hello ada"
    assert member(bob).get(f"{front}{name}/").content == b"Hello bob"


@GREETINGS
def test_a_page_for_a_user_is_not_kept_for_that_user_either(front, ada, name):
    client = member(ada)
    client.get(f"{front}{name}/")
    response = client.get(f"{front}{name}/")
    assert asked[name] == 2
    assert "user who is logged in" in status_of(response)
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert "Cookie" in response.headers["Vary"]


def test_the_cached_page_says_that_it_varies_on_cookies(front):
    Client().get(f"{front}greeting/")
    response = Client().get(f"{front}greeting/")
    assert "hit" in status_of(response)
    assert response.headers["Vary"] == "Cookie"


def test_a_user_gets_the_page_that_asks_for_nobody(front, ada):
    member(ada).get(f"{front}plain/")
    assert "hit" in status_of(Client().get(f"{front}plain/"))


def test_a_csrf_token_is_not_shared(front):
    first, second = Client().get(f"{front}form/"), Client().get(f"{front}form/")
    assert asked["form"] == 2
    assert first.content != second.content
    assert "CSRF" in status_of(second)


def test_a_csrf_token_is_not_shared_by_a_visitor_who_has_the_cookie(front):
    client = Client()
    client.get(f"{front}form/")
    client.get(f"{front}form/")
    Client().get(f"{front}form/")
    assert asked["form"] == 3


def test_a_response_that_sets_a_cookie_is_not_stored(front):
    Client().get(f"{front}cookie/")
    response = Client().get(f"{front}cookie/")
    assert response.content == b"cookie 2"
    assert "sets a cookie" in status_of(response)
    assert response.headers["Cache-Control"] == "private, no-cache"


def test_a_session_is_not_shared(front):
    one, two = Client(), Client()
    one.get(f"{front}basket/")
    assert one.get(f"{front}read_basket/").content == b"1"
    assert two.get(f"{front}read_basket/").content == b"0"
    assert one.get(f"{front}read_basket/").content == b"1"


def test_a_session_that_is_changed_by_the_view_is_not_stored(front):
    Client().get(f"{front}basket/")
    assert Client().get(f"{front}basket/").content == b"1"
    assert asked["basket"] == 2


def test_the_key_of_a_session_is_not_shared(front):
    one = Client()
    one.get(f"{front}basket/")
    assert one.get(f"{front}session_key/").content != b"None"
    assert Client().get(f"{front}session_key/").content == b"None"


@pytest.mark.parametrize(
    "read",
    (
        lambda cookies: cookies["theme"],
        lambda cookies: cookies.get("theme"),
        lambda cookies: dict(cookies.items())["theme"],
        lambda cookies: {**cookies}["theme"],
        lambda cookies: dict(cookies)["theme"],
        lambda cookies: next(cookies[name] for name in cookies),
    ),
)
def test_a_page_that_reads_a_cookie_varies_on_it_unasked(front, monkeypatch, read):
    def themed(request):
        return urls.HttpResponse(read(request.COOKIES) if request.GET else "-")

    use(monkeypatch, themed)
    for theme in ("dark", "light", "dark"):
        client = Client()
        client.cookies["theme"] = theme
        response = client.get(f"{front}themed/?x")
        assert response.content == theme.encode()
    assert "hit" in status_of(response)
    assert "Vary" not in client.get(f"{front}themed/").headers


def use(monkeypatch, view):
    name = f"{view.__name__}/"
    monkeypatch.setattr(
        urls, "urlpatterns", [path(name, view), path(f"cached/{name}", cache_view(view))]
    )
    clear_url_caches()


def test_messages_are_not_shared(front):
    one = Client()
    one.get(f"{front}say/")
    assert one.get(f"{front}show_messages/").content == b"saved"
    assert Client().get(f"{front}show_messages/").content == b""


def test_messages_are_shown_to_the_one_they_are_for(front):
    Client().get(f"{front}show_messages/")
    assert "hit" in status_of(Client().get(f"{front}show_messages/"))
    one = Client()
    one.get(f"{front}say/")
    assert one.get(f"{front}show_messages/").content == b"saved"


def test_a_page_that_adds_a_message_is_not_stored(front):
    Client().get(f"{front}say/")
    one = Client()
    one.get(f"{front}say/")
    assert one.get(f"{front}show_messages/").content == b"saved"


@pytest.mark.parametrize("extra", ({"HTTP_AUTHORIZATION": "Basic x"}, {"REMOTE_USER": "ada"}))
def test_a_request_with_credentials_goes_by_the_store(front, extra):
    response = Client().get(f"{front}plain/", **extra)
    assert "fwd=bypass" in status_of(response)
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert Client().get(f"{front}plain/").content == b"plain 2 "
    assert Client().get(f"{front}plain/", **extra).content == b"plain 3 "


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has nonces since 6.0")
@pytest.mark.parametrize("where", ("site", "view"))
def test_a_nonce_is_not_shared(settings, where):
    from django.utils.csp import CSP

    csp = "django.middleware.csp.ContentSecurityPolicyMiddleware"
    settings.ROOT_URLCONF = "tests.pages.test_privacy"
    settings.SECURE_CSP = {"script-src": [CSP.NONCE]}
    settings.MIDDLEWARE = [SITE, csp, *INSIDE] if where == "site" else [csp, *INSIDE]
    first, second = Client().get(f"/{where}/nonce/"), Client().get(f"/{where}/nonce/")
    assert first.content != second.content
    assert "nonce" in status_of(second)
    Client().get(f"/{where}/no-nonce/")
    assert "hit" in status_of(Client().get(f"/{where}/no-nonce/"))


def test_the_wait_for_a_private_page_ends_in_a_page_of_ones_own(front, ada, monkeypatch):
    import threading

    bob = User.objects.create_user("bob")
    members = [member(ada), member(bob), member(ada)]
    inside, go = threading.Event(), threading.Event()

    def slow(name):
        inside.set()
        go.wait(5)

    monkeypatch.setattr(urls, "count", slow)
    contents = {}

    def ask(number, client):
        contents[number] = client.get(f"{front}greeting/").content

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(members)]
    threads[0].start()
    inside.wait(5)
    for thread in threads[1:]:
        thread.start()
    threading.Event().wait(0.2)
    go.set()
    for thread in threads:
        thread.join(5)
    assert contents == {0: b"Hello ada", 1: b"Hello bob", 2: b"Hello ada"}


def _nonce(request):
    from django.http import HttpResponse

    return HttpResponse(str(request._csp_nonce))


def _no_nonce(request):
    from django.http import HttpResponse

    return HttpResponse("none")


def _urls():
    return [
        path("site/nonce/", _nonce),
        path("site/no-nonce/", _no_nonce),
        path("view/nonce/", cache_view(_nonce)),
        path("view/no-nonce/", cache_view(_no_nonce)),
    ]


urlpatterns = _urls()
