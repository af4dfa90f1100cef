"""Coroutines and transactions: what a coroutine reads runs in another thread than it does itself."""

import asyncio
from contextlib import suppress

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction

from django_layercache import cached, trace
from tests.querysets.conftest import POSTGRES, use_store
from tests.querysets.test_transactions import Undo, rename
from tests.querysets.world import World, elsewhere
from tests.testapp.models import Author, Post


@pytest.fixture
def titles(world):
    return cached_titles(world)


def cached_titles(world):
    """What is asked, as in a view that is no coroutine; and whether it came from the store."""

    @cached(timeout=60)
    async def titles():
        return [title async for title in world.all().order_by("pk").values_list("title", flat=True)]

    def ask():
        with trace() as events:
            found = async_to_sync(titles)()
        return found[0], events[-1].outcome

    ask()
    assert ask() == ("one", "hit")
    return ask


def test_a_coroutine_in_a_transaction_sees_what_that_has_written(world, titles):
    with transaction.atomic(world.alias):
        world.all(Author).count()
        assert titles() == ("one", "hit")
        rename(world)
        assert titles() == ("changed", "bypass")
        assert elsewhere(titles) == ("one", "hit")
    assert titles() == ("changed", "miss")


def test_a_coroutine_in_a_transaction_that_rolls_back_stores_nothing(world, titles):
    with suppress(Undo), transaction.atomic(world.alias):
        rename(world)
        assert titles() == ("changed", "bypass")
        raise Undo
    assert titles() == ("one", "hit")


def test_a_transaction_that_is_over_stands_in_no_coroutines_way(world, titles):
    for _ in range(2):
        with transaction.atomic(world.alias):
            rename(world)
    assert titles() == ("changed", "miss")
    assert titles() == ("changed", "hit")


def test_a_transaction_that_was_begun_by_hand_between_awaits_is_known(world, titles):
    outer = transaction.atomic(world.alias)

    async def story():
        await sync_to_async(outer.__enter__)()
        await sync_to_async(rename)(world)
        with trace() as events:
            found = await asyncio.gather(*(first_title(world.alias) for _ in range(2)))
        await sync_to_async(outer.__exit__)(None, None, None)
        return found, {event.outcome for event in events}

    async_to_sync(first_title)(world.alias)
    assert async_to_sync(story)() == (["changed", "changed"], {"bypass"})
    assert async_to_sync(first_title)(world.alias) == "changed"


@cached(timeout=60)
async def first_title(alias):
    return (await Post.objects.using(alias).order_by("pk").afirst()).title


def test_a_task_that_outlives_a_transaction_is_not_taken_for_a_part_of_the_next_one(world, titles):
    async def ask_when(told, again):
        await told.wait()
        return await asyncio.to_thread(again)

    def look():
        from django_layercache.querysets.isolation import current_isolation

        try:
            return current_isolation()
        finally:
            connections.close_all()

    async def story():
        told = asyncio.Event()
        first, second = transaction.atomic(world.alias), transaction.atomic(world.alias)
        await sync_to_async(first.__enter__)()
        await sync_to_async(rename)(world)
        task = asyncio.create_task(ask_when(told, look))
        await asyncio.sleep(0)
        await sync_to_async(first.__exit__)(None, None, None)
        await sync_to_async(second.__enter__)()
        await sync_to_async(rename)(world, "again")
        told.set()
        found = await task
        await sync_to_async(second.__exit__)(None, None, None)
        return found

    assert async_to_sync(story)() is None


@POSTGRES.marks[0]
@pytest.mark.parametrize("begins_with", ("a read", "the coroutine"))
def test_a_coroutine_in_a_snapshot_is_answered_from_it(request, settings, begins_with):
    use_store(request, settings, "redis")
    world = World("postgres")
    titles = cached_titles(world)
    world.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with transaction.atomic(world.alias):
        if begins_with == "a read":
            world.all(Author).count()
            elsewhere(rename, world)
            elsewhere(titles)
        assert titles()[0] == "one"
        elsewhere(rename, world, "later")
        assert world.all(Post).order_by("pk").values_list("title", flat=True)[0] == "one"
    world.connection.close()
