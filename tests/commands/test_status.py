"""``manage.py layercache status``: why a store is not trusted, and what is waiting for it."""

import json
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import call_command

from django_layercache.handlers import engines, get_engine
from django_layercache.models import OutboxEntry
from tests.services import free_port

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
ALIASES = ("--database=default", "--database=other")


@pytest.fixture
def server(fresh_redis, settings):
    """A server of this test's own, which the settings name and which is trusted."""
    place = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": fresh_redis.url}
    settings.CACHES = {**settings.CACHES, "own": place}
    settings.LAYERCACHE = {"CACHE": "own", "NAMESPACE": "shop", "GRACE": 0}
    yield fresh_redis
    engines.reset()


def status(*arguments):
    out = StringIO()
    call_command("layercache", "status", *arguments, stdout=out)
    return out.getvalue()


def facts():
    return json.loads(status("--json", *ALIASES))


@contextmanager
def waiting(alias="default"):
    try:
        yield OutboxEntry.objects.using(alias).create(tags='["#weather"]')
    finally:
        OutboxEntry.objects.using(alias).all().delete()


def test_a_store_that_is_well_is_trusted(server):
    assert facts()["why not trusted"] == []
    assert "trusted     yes\n" in status(*ALIASES)


def test_commits_that_nobody_has_told_are_counted_from_the_first(server):
    engines.reset()  # an engine would drain them
    with waiting() as first, waiting("other"):
        OutboxEntry.objects.create(tags="[]")
        text = status(*ALIASES)
    said = f"2 commits since {first.created:%Y-%m-%d %H:%M:%S} UTC"
    assert f"outbox      default: {said}; other: 1 commit since" in text
    assert f"trusted     no: the outbox of 'default' had {said} of which it had not heard;" in text


def test_status_says_since_when_and_why_nothing_older_counts(server):
    began = facts()["began"]
    get_engine().store.client.flushall()
    assert facts()["because"] == "lost"
    call_command("layercache", "clear", stdout=StringIO())
    assert facts()["began"] > began
    assert "UTC: the cache was cleared\n" in status(*ALIASES)


def test_status_tells_a_server_that_holds_old_data(server):
    facts()
    get_engine().store.client.save()
    server.kill()
    server.start()
    assert facts()["because"] == "identity"


def test_status_says_that_a_store_waits_for_marks_that_it_may_have_lost(server, settings):
    settings.LAYERCACHE = {**settings.LAYERCACHE, "GRACE": 30}
    found = facts()
    assert found["in grace"]
    assert ["lost marks" in why for why in found["why not trusted"]] == [True]


def test_status_says_that_nothing_is_cached(server, settings):
    settings.LAYERCACHE = {**settings.LAYERCACHE, "ENABLED": False}
    assert facts()["why not trusted"] == [
        "ENABLED is False, or an override of CACHES has taken the store away"
    ]


def test_status_says_which_servers_of_a_pool_answer(memcached_server, settings):
    gone = f"127.0.0.1:{free_port()}"
    place = {**settings.CACHES["memcached"], "LOCATION": [memcached_server.location, gone]}
    settings.CACHES = {**settings.CACHES, "memcached": place}
    settings.LAYERCACHE = {"CACHE": "memcached", "NAMESPACE": "shop"}
    servers = facts()["servers"]
    assert servers[memcached_server.location] == "answers"
    assert "refused" in servers[gone]
    engines.reset()


def test_status_says_that_there_are_fewer_replicas_than_have_to_acknowledge(server, settings):
    settings.LAYERCACHE = {**settings.LAYERCACHE, "ON_FAILOVER": "keep"}
    found = facts()
    assert found["replicas"] == {"connected": 0, "needed": 1}
    why = "each mark has to be acknowledged by 1 of its replicas, and it has 0"
    assert why in found["why not trusted"]
