"""``CACHES`` overridden at run time, as test suites do: the handlers follow, nothing raises, nothing is stale."""

import pytest
from django.core.cache import caches
from django.test import override_settings

from django_layercache.handlers import engines, get_engine
from django_layercache.stores.django import BoundedStore
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.redis import RedisStore
from tests.settings import CACHES
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "overridden"}
USELESS = {
    "none of that name": {"default": LOCMEM},
    "one that cannot be imported": {"store": {"BACKEND": "nowhere.Cache"}},
    "one that keeps nothing": {"store": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
    "one in a database": {
        "store": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "t"}
    },
    "one that is not exact": {"store": LOCMEM},
}


@pytest.fixture(params=("redis", "memcached"))
def project(request, redis_server, memcached_server):
    """A project whose store is behind the alias "store"."""
    with override_settings(CACHES={"default": LOCMEM, "store": CACHES[request.param]}):
        setting = {"CACHE": "store", "GRACE": 0, "NAMESPACE": request.node.nodeid}
        with override_settings(LAYERCACHE=setting):
            yield
    engines.reset()


def names():
    return sorted(author.name for author in Author.objects.all().cached())


def settled():
    """Ask until the store trusts itself, and has the answer."""
    engine = get_engine()
    while engine.outages.in_debt:
        pass
    engine.store.end_grace(engine.store.read(None, ()).sequence)
    names()


@pytest.mark.parametrize("name", USELESS)
def test_an_alias_that_has_become_useless_caches_nothing_until_it_is_back(project, name):
    Author.objects.create(name="Ada")
    settled()
    with override_settings(CACHES={"default": LOCMEM} | USELESS[name]):
        assert names() == ["Ada"]
        Author.objects.create(name="Bob")
        assert names() == ["Ada", "Bob"]
        assert not get_engine().enabled
    assert names() == ["Ada", "Bob"]
    assert get_engine().enabled


@pytest.mark.parametrize("other", ("redis", "memcached"))
def test_an_alias_that_has_become_another_exact_one_is_followed(project, other):
    Author.objects.create(name="Ada")
    settled()
    with override_settings(CACHES={"default": LOCMEM, "store": CACHES[other]}):
        assert isinstance(get_engine().store, RedisStore if other == "redis" else MemcachedStore)
        assert names() == ["Ada"]
        Author.objects.create(name="Bob")
        assert names() == ["Ada", "Bob"]
    assert names() == ["Ada", "Bob"]


def test_a_project_may_choose_any_other_cache(settings):
    settings.CACHES = {"default": LOCMEM}
    settings.LAYERCACHE = {"CACHE": "default"}
    assert isinstance(get_engine().store, BoundedStore)
    Author.objects.create(name="Ada")
    assert names() == names() == ["Ada"]
    Author.objects.create(name="Bob")
    assert names() == ["Ada", "Bob"]
    caches["default"].clear()
    assert names() == ["Ada", "Bob"]
