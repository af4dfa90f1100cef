"""A site with the middleware that most sites have, and an empty cache for each test."""

import pytest
from django.contrib.auth.models import User
from django.urls import clear_url_caches

from django_layercache.handlers import engines
from django_layercache.pages import visits
from tests.pages.urls import asked

INSIDE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
SITE = "django_layercache.middleware.LayerCacheMiddleware"


@pytest.fixture(autouse=True)
def empty_cache(settings):
    settings.ROOT_URLCONF = "tests.pages.urls"
    engines.reset()
    visits._VARIANTS.clear()
    asked.clear()
    clear_url_caches()
    yield
    engines.reset()


@pytest.fixture
def site(settings):
    """The whole site is cached."""
    settings.MIDDLEWARE = [SITE, *INSIDE]


@pytest.fixture(params=["site", "view"])
def front(request, settings):
    """The prefix of pages that are cached: by the middleware, and by ``cache_view``."""
    settings.MIDDLEWARE = [SITE, *INSIDE] if request.param == "site" else INSIDE
    return "/" if request.param == "site" else "/cached/"


@pytest.fixture
def ada(db):
    return User.objects.create_user("ada")
