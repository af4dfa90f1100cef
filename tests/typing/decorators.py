"""What a type checker sees of the decorators. Run by ``make types``; nothing here is executed."""

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from django.http import HttpRequest, HttpResponse
from django.views import View

from django_layercache.decorators import cache_view, cached


@cached
def bare(a: int, b: str = "") -> list[int]:
    return [a]


@cached(timeout=60, tags=["weather"], key=lambda a: a)
def with_options(a: int) -> float:
    return a


@cached
async def later(a: int) -> str:
    return str(a)


@cached(timeout=None)
async def later_with_options(a: int) -> str:
    return str(a)


class Shop:
    @cached
    def price(self, number: int) -> float:
        return number

    @cached
    async def stock(self, number: int) -> int:
        return number


def functions() -> None:
    assert_type(bare(1), list[int])
    assert_type(bare(1, b="x"), list[int])
    assert_type(bare.refresh(1), list[int])
    assert_type(bare.get_many([(1,), (2, "x")]), list[list[int]])
    assert_type(with_options(1), float)
    bare.invalidate(1)
    bare.invalidate_all()
    bare("x")  # type: ignore[arg-type]
    bare()  # type: ignore[call-arg]
    bare.invalidate("x")  # type: ignore[arg-type]
    function: Callable[[int], list[int]] = bare
    function(1)


def methods() -> None:
    assert_type(Shop().price(1), float)
    Shop().price.invalidate(1)
    Shop.price(Shop(), 1)
    Shop().price("x")  # type: ignore[arg-type]


async def coroutines() -> None:
    assert_type(await later(1), str)
    assert_type(await later_with_options(1), str)
    assert_type(await later.refresh(1), str)
    assert_type(await later.get_many([(1,)]), list[str])
    await later.invalidate(1)
    assert_type(await Shop().stock(1), int)
    await later("x")  # type: ignore[arg-type]
    function: Callable[[int], Coroutine[Any, Any, str]] = later
    await function(1)


cached(timeout="soon")  # type: ignore[call-overload]


@cache_view
def page(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse()


@cache_view(timeout=60)
async def async_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@cache_view(timeout=60)
class Page(View):
    attribute = 1


def views(request: HttpRequest) -> None:
    assert_type(page(request, 1), HttpResponse)
    page(request, "x")  # type: ignore[arg-type]
    assert_type(Page.attribute, int)
