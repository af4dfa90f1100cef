"""A project that has Valkey's own client. (The server is what the machine has: Redis, or Valkey.)"""

from typing import Any

import pytest

from django_layercache.checks import check_settings
from django_layercache.handlers import make_store
from django_layercache.stores.base import Entry
from django_layercache.stores.redis import RedisStore
from tests.services import RedisServer

pytest.importorskip("django_valkey")


def test_a_cache_of_django_valkey_is_a_store(redis_server: RedisServer, settings: Any) -> None:
    location = redis_server.url.replace("redis://", "valkey://").replace("/0", "/5")
    named = {"BACKEND": "django_valkey.cache.ValkeyCache", "LOCATION": location}
    settings.CACHES = {**settings.CACHES, "own": named}
    settings.LAYERCACHE = {"CACHE": "own", "NAMESPACE": "valkey"}
    store = make_store(longest_grace=0)
    assert isinstance(store, RedisStore)
    states = store.read(None, ["a"]).states
    store.write("k", Entry(dict(states), b"x"), 60)
    assert store.read("k", ()).entry == Entry(dict(states), b"x")
    assert int(redis_server.ask("-n", 5, "EXISTS", store._entry_key("k"))) == 1
    assert check_settings() == []
    store.close()
