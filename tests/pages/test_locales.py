"""Languages and time zones, with what the last visitor left active in the thread."""

import pytest
from django.test import Client
from django.utils import timezone, translation

from tests.pages.conftest import INSIDE, SITE
from tests.pages.urls import asked

pytestmark = pytest.mark.django_db(transaction=True)

LOCALE = "django.middleware.locale.LocaleMiddleware"


@pytest.fixture(autouse=True)
def clean_thread(settings):
    settings.USE_I18N = True
    settings.LANGUAGE_CODE = "en"
    yield
    translation.deactivate()
    timezone.deactivate()


@pytest.fixture(params=["first", "behind", "view"])
def translated(request, settings):
    """The prefix of pages of a site that speaks the language of its visitors."""
    settings.MIDDLEWARE = {
        "first": [SITE, INSIDE[0], LOCALE, *INSIDE[1:]],
        "behind": [LOCALE, SITE, *INSIDE],
        "view": [LOCALE, *INSIDE],
    }[request.param]
    return "/cached/" if request.param == "view" else "/"


def ask(url, language=None, **cookies):
    client = Client()
    client.cookies.load(cookies)
    return client.get(url, headers={"accept-language": language} if language else {})


def test_each_language_has_its_own_page(translated):
    url = f"{translated}language/"
    assert [ask(url, code).content for code in ("de", "fr", "de", "fr")] == [b"de", b"fr"] * 2
    assert asked["language"] == 2


def test_spellings_of_a_language_share_a_page(translated):
    url = f"{translated}language/"
    ask(url, "de")
    assert "hit" in ask(url, "de;q=0.9, xx;q=0.1").headers["Cache-Status"]


def test_the_language_of_the_cookie_is_obeyed(translated):
    url = f"{translated}language/"
    assert ask(url, "fr").content == b"fr"
    assert ask(url, "fr", django_language="de").content == b"de"
    assert ask(url, "fr").content == b"fr"


def test_what_the_last_visitor_left_active_does_not_count(site):
    assert ask("/language/").content == b"en"
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    response = ask("/language/")
    assert "hit" in response.headers["Cache-Status"]
    assert response.content == b"en"


def test_a_locale_that_was_not_foreseen_is_not_stored(front):
    response = ask(f"{front}moody/", mood="german")
    assert response.content == b"de Asia/Tokyo"
    assert "not foreseen" in response.headers["Cache-Status"]
    translation.deactivate()
    timezone.deactivate()
    assert ask(f"{front}moody/").content == b"en UTC"


def test_a_locale_middleware_of_ones_own_keeps_the_site_from_foreseeing(settings):
    settings.MIDDLEWARE = [SITE, INSIDE[0], "tests.pages.test_locales.OwnLocale", *INSIDE[1:]]
    ask("/language/", "de")
    response = ask("/language/", "de")
    assert "fwd=bypass" in response.headers["Cache-Status"]
    settings.MIDDLEWARE = [INSIDE[0], "tests.pages.test_locales.OwnLocale", SITE, *INSIDE[1:]]
    ask("/language/", "de")
    assert "hit" in ask("/language/", "de").headers["Cache-Status"]


class Preferring:
    """Activates a language by a cookie, and does not tell the request."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "prefers" in request.COOKIES:
            translation.activate(request.COOKIES["prefers"])
        return self.get_response(request)


@pytest.mark.parametrize("prefix", ("/", "/cached/"))
def test_a_language_that_the_request_does_not_know_of_is_not_mixed_up(settings, prefix):
    own = "tests.pages.test_locales.Preferring"
    site = [SITE] if prefix == "/" else []
    settings.MIDDLEWARE = [INSIDE[0], LOCALE, own, *site, *INSIDE[1:]]
    url = f"{prefix}language/"
    assert ask(url, "en").content == b"en"
    assert ask(url, "en", prefers="de").content == b"de"
    assert ask(url, "en", prefers="fr").content == b"fr"
    assert ask(url, "en").content == b"en"


from django.middleware.locale import LocaleMiddleware  # noqa: E402


class OwnLocale(LocaleMiddleware):
    """A project's own."""
