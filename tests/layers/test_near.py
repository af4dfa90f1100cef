"""The near tier as the settings make it: where requests begin, and which transactions ask all the same."""

import asyncio
from unittest import mock

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import RequestFactory

from django_layercache import token_snapshot
from django_layercache.exceptions import InvalidSetting
from django_layercache.handlers import engines, get_engine
from django_layercache.middleware import LayerCacheMiddleware, TokenSnapshotMiddleware
from django_layercache.stores.near import NearStore
from tests.querysets.conftest import use_store
from tests.testapp.models import Author


@pytest.fixture
def asked(request, settings):
    """How often the shared store was asked for something."""
    near = {"freshness": "request", "max_bytes": 100_000}
    use_store(request, settings, "redis", NAMESPACE="near", NEAR=near)
    store = get_engine().store
    assert isinstance(store, NearStore)
    with mock.patch.object(store, "_fetch", wraps=store._fetch) as fetch:
        yield fetch
    store.reset()
    engines.reset()


def read_twice(request=None):
    for _ in range(2):
        get_engine().store.read(None, ["a"])
    return HttpResponse()


async def aread_twice(request):
    read_twice()
    await asyncio.to_thread(read_twice)
    return HttpResponse()


@pytest.mark.parametrize("middleware", (LayerCacheMiddleware, TokenSnapshotMiddleware))
def test_the_middleware_says_where_a_request_begins(middleware, asked):
    answer = middleware(read_twice)
    for path in "ab":
        before = asked.call_count
        answer(RequestFactory().post(f"/{path}/"))
        assert asked.call_count == before + 1


@pytest.mark.parametrize("middleware", (LayerCacheMiddleware, TokenSnapshotMiddleware))
def test_so_it_does_to_async_views(middleware, asked):
    answer = middleware(aread_twice)
    for path in "ab":
        before = asked.call_count
        asyncio.run(answer(RequestFactory().post(f"/{path}/")))
        assert asked.call_count == before + 1


def test_a_task_is_what_is_decorated(asked):
    token_snapshot()(read_twice)()
    assert asked.call_count == 1
    read_twice()
    assert asked.call_count == 3


def queries_twice(alias):
    for _ in range(2):
        list(Author.objects.using(alias).filter(pk=1).cached())


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.parametrize(
    ("alias", "asks_again"),
    (("default", True), ("postgres", False)),
)
def test_a_transaction_with_a_snapshot_asks(alias, asks_again, asked):
    queries_twice(alias)  # a tag has to be there before the transaction's snapshot is
    with token_snapshot():
        queries_twice(alias)
        before = asked.call_count
        queries_twice(alias)
        assert asked.call_count == before
        with transaction.atomic(alias):
            queries_twice(alias)
            assert (asked.call_count > before) is asks_again


@pytest.mark.django_db(transaction=True)
def test_what_a_request_commits_it_sees(asked):
    with token_snapshot():
        for name in ("Ada", "Bob"):
            Author.objects.create(name=name)
            for _ in range(2):
                assert list(Author.objects.values_list("name", flat=True).cached())[-1] == name


@pytest.mark.parametrize("near", (["strict"], {"freshness": "never"}))
def test_a_tier_that_cannot_be_is_an_error(near, settings, redis_server):
    settings.LAYERCACHE = {"CACHE": "redis", "NEAR": near}
    with pytest.raises(InvalidSetting, match="NEAR"):
        get_engine()
