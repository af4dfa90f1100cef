"""Coroutine functions."""

import asyncio
import inspect
import sys

import pytest
from asgiref.sync import iscoroutinefunction

from django_layercache.decorators import cached
from tests.testapp.models import Author


def run(coroutine):
    return asyncio.run(coroutine)


def counted():
    calls = []

    @cached
    async def count(a=0):
        calls.append(a)
        await asyncio.sleep(0)
        return calls.count(a)

    return count, calls


def test_it_is_a_coroutine_function():
    count, _ = counted()
    assert iscoroutinefunction(count)
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(count)


def test_the_second_call_is_answered_from_the_store():
    count, calls = counted()

    async def twice():
        return [await count(1), await count(1)]

    assert run(twice()) == [1, 1]
    assert calls == [1]


def test_one_of_many_tasks_computes():
    count, calls = counted()

    async def many():
        return await asyncio.gather(*(count(1) for _ in range(5)))

    assert run(many()) == [1] * 5
    assert calls == [1]


def test_get_many_and_refresh_are_awaited():
    count, _calls = counted()

    async def story():
        return await count.get_many([(1,), (2,)]), await count.refresh(1), await count(1)

    assert run(story()) == ([1, 1], 2, 2)


def test_invalidate_is_awaited():
    count, _ = counted()

    async def story():
        await count(1), await count(2)
        await count.invalidate(1)
        one = await count(1), await count(2)
        await count.invalidate_all()
        return one, (await count(1), await count(2))

    assert run(story()) == ((2, 1), (3, 2))


@pytest.mark.django_db(transaction=True)
def test_it_depends_on_what_was_awaited_inside():
    @cached
    async def names():
        return [author.name async for author in Author.objects.order_by("name")]

    async def story():
        before = await names()
        await Author.objects.acreate(name="Ada")
        return before, await names()

    assert run(story()) == ([], ["Ada"])


@pytest.mark.django_db(transaction=True)
def test_a_queryset_that_was_not_evaluated_is_returned_and_not_stored():
    @cached
    async def authors():
        return Author.objects.all()

    async def story():
        await authors()
        await Author.objects.acreate(name="Ada")
        return [author.name async for author in await authors()]

    assert run(story()) == ["Ada"]
