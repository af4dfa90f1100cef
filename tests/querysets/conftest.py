"""Every test of the queryset layer runs over both databases and both stores, unless it says otherwise."""

import time

import pytest

from django_layercache.handlers import get_engine
from tests.querysets.world import World

# Without a grace: the tests do not begin with a second in which a new Redis is not trusted.
STORES = {"local": {}, "redis": {"CACHE": "redis", "GRACE": 0}}


def on(*databases):
    """The mark of a test that commits to *databases*. Only the tables of these apps are emptied after it."""
    return pytest.mark.django_db(
        transaction=True,
        databases=databases,
        available_apps=["tests.testapp", "django_layercache"],
    )


SQLITE = pytest.param("default", marks=on("default"), id="sqlite")
POSTGRES = pytest.param("postgres", marks=on("default", "postgres"), id="postgres")


@pytest.fixture(params=[SQLITE, POSTGRES])
def alias(request):
    """The alias of a database, emptied after the test."""
    return request.param


@pytest.fixture
def store(alias, request, settings):
    """The name of the store that is in use, empty: the local one with SQLite, Redis with PostgreSQL.

    What a query depends on and what a write changes has nothing to do with the store, and the stores have a
    suite of their own; test_freshness mixes them.
    """
    name = "redis" if alias == "postgres" else "local"
    use_store(request, settings, name)
    return name


def use_store(request, settings, name, **more):
    if name == "redis":
        request.getfixturevalue("redis_server")
    settings.LAYERCACHE = {**STORES[name], **more}
    wait_until_trusted()


def wait_until_trusted(seconds=10):
    """Wait until the store is neither owed anything nor distrusts itself, as after the loss of its register."""
    deadline = time.monotonic() + seconds
    while True:
        engine = get_engine()
        if not engine.outages.in_debt and engine.store.read(None, ["probe"]).states["probe"]:
            return
        assert time.monotonic() < deadline, "the store is not trusted"
        time.sleep(0.01)


@pytest.fixture
def redis_store(request, settings):
    """Have the store in Redis."""
    use_store(request, settings, "redis")


@pytest.fixture
def local_store(request, settings):
    """Have an empty store in this process."""
    use_store(request, settings, "local")


@pytest.fixture
def world(alias, store):
    """A small blog, and some of everything else, committed."""
    return World(alias)


@pytest.fixture
def local_world(alias, local_store):
    """:func:`world`, over the local store alone: for what the store has no part in."""
    return World(alias)
