"""The servers of the tests: they start, obey, and the databases on them are the ones that Django uses."""

import http.server
import os
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
import redis
from django.conf import settings
from django.core.cache import caches
from django.db import connections, transaction

from tests.services import HOST
from tests.testapp.models import Author


@pytest.mark.parametrize("alias", ("default", "other", "postgres"))
@pytest.mark.django_db(transaction=True, databases=["default", "other", "postgres"])
class TestEveryDatabaseCommits:
    def test_and_another_connection_sees_it(self, alias):
        with transaction.atomic(using=alias):
            Author.objects.using(alias).create(name="Ada")
        second = connections[alias].copy()
        try:
            with second.cursor() as cursor:
                cursor.execute("SELECT name FROM testapp_author")
                assert cursor.fetchall() == [("Ada",)]
        finally:
            second.close()

    def test_and_is_empty_for_the_next_test(self, alias):
        assert not Author.objects.using(alias).exists()


@pytest.mark.django_db(databases=["default", "other", "postgres"])
def test_databases_roll_back_after_a_test_that_commits_nothing():
    for alias in ("default", "other", "postgres"):
        assert not Author.objects.using(alias).exists()
        Author.objects.using(alias).create(name="Ada")


@pytest.mark.parametrize("alias", ("redis", "django_redis"))
def test_the_cache_aliases_reach_the_redis_server(redis_server, alias):
    caches[alias].set("greeting", "hello")
    assert caches[alias].get("greeting") == "hello"
    caches[alias].delete("greeting")


def test_the_cache_alias_reaches_memcached(memcached_server):
    caches["memcached"].set("greeting", "hello")
    assert caches["memcached"].get("greeting") == "hello"


@pytest.fixture
def client(fresh_redis):
    with redis.Redis(
        HOST, fresh_redis.port, socket_timeout=0.2, socket_connect_timeout=0.2, retry=None
    ) as client:
        yield client


def test_a_paused_server_does_not_answer_and_a_resumed_one_does(fresh_redis, client):
    client.set("key", "value")
    with fresh_redis.paused(), pytest.raises(redis.TimeoutError):
        client.get("key")
    time.sleep(0.05)
    assert client.get("key") == b"value"


def test_a_killed_server_refuses_and_comes_back_empty_on_the_same_port(fresh_redis, client):
    client.set("key", "value")
    fresh_redis.kill()
    with pytest.raises(redis.ConnectionError):
        client.get("key")
    fresh_redis.start()
    assert client.get("key") is None


def test_each_test_has_a_fresh_server_of_its_own(fresh_redis, redis_server):
    assert fresh_redis.port != redis_server.port
    assert fresh_redis.pid != redis_server.pid


def test_varnish_asks_the_server_behind_it(varnish):
    handler = http.server.SimpleHTTPRequestHandler
    with http.server.ThreadingHTTPServer((HOST, 0), handler) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        with urllib.request.urlopen(varnish(backend.server_port).url, timeout=10) as response:
            assert response.status == 200
            assert "varnish" in response.headers["Via"]
        backend.shutdown()


def test_a_process_of_its_own_finds_the_same_databases_and_servers(redis_server):
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        "print(settings.DATABASES['default']['NAME'], settings.CACHES['redis']['LOCATION'])"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert printed.split() == [settings.DATABASES["default"]["NAME"], redis_server.url]
