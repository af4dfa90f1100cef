"""What ``@cached`` makes of a function: a callable, and a method where the function is one."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import update_wrapper
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async

from django_layercache.engine import Recipe, nothing_cached
from django_layercache.exceptions import InvalidArgument
from django_layercache.functions.memo import Hooks, Memo
from django_layercache.handlers import get_engine
from django_layercache.serializers.signed import SignedCodec
from django_layercache.timeouts import Timeout

__all__ = ["AsyncCachedFunction", "CachedFunction", "decorate"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class _Decorated:
    """What the two below share: being a function, and becoming a method.

    ``_bound`` holds what a method is bound to: its first argument.
    """

    _memo: Memo
    _bound: tuple[Any, ...]
    _kind: type  # of what was decorated: a function, a classmethod or a staticmethod

    def __init__(self, memo: Memo, kind: type) -> None:
        self._memo = memo
        self._bound = ()
        self._kind = kind
        update_wrapper(cast("Callable[..., Any]", self), memo.function)

    def _bind(self, instance: Any, owner: type | None) -> Self:
        if self._kind is staticmethod:
            return self
        if self._kind is classmethod:
            instance = type(instance) if owner is None else owner
        if instance is None or self._bound:
            return self
        method = object.__new__(type(self))
        method.__dict__.update(self.__dict__)
        method._bound = (instance,)
        method.__dict__["__wrapped__"] = MethodType(self._memo.function, instance)
        return method

    def __reduce__(self) -> str | tuple[Any, ...]:
        # As functions are: by name. A method: from what it is bound to.
        if self._bound:
            return getattr, (self._bound[0], self._memo.function.__name__)
        return str(self._memo.function.__qualname__)

    def __repr__(self) -> str:
        return f"<cached {self._memo.name}>"

    def _calls(self, calls: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        calls = list(calls)
        for call in calls:
            if not isinstance(call, tuple | list):
                raise InvalidArgument(
                    f"get_many() takes the arguments of each call as a tuple; not {call!r}."
                )
        return [(*self._bound, *call) for call in calls]


class CachedFunction(_Decorated, Generic[P, R]):
    """A function whose values are kept."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        recipe, build = self._order((*self._bound, *args), kwargs)
        return cast("R", get_engine().get_or_build(recipe, build))

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value of this call, computed now and kept."""
        recipe, build = self._order((*self._bound, *args), kwargs)
        return cast("R", get_engine().refresh(recipe, build))

    def get_many(self, calls: Iterable[Sequence[Any]]) -> list[R]:
        """The values of several calls, each given as the tuple of its arguments, in one round trip."""
        orders = [self._order(call, {}) for call in self._calls(calls)]
        return get_engine().get_many(orders)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the value of this call; inside a transaction: at its COMMIT."""
        self._memo.hooks.touch([self._memo.call_tag((*self._bound, *args), kwargs)])

    def invalidate_all(self) -> None:
        """Forget the values of all calls; inside a transaction: at its COMMIT."""
        self._memo.hooks.touch([self._memo.tag])

    def _order(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Recipe, Callable[[], Any]]:
        recipe = self._memo.recipe(args, kwargs)

        def build() -> Any:
            value = self._memo.function(*args, **kwargs)
            _keep(recipe, value)
            return value

        return recipe, build

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(
        self: "CachedFunction[Concatenate[S, Q], R]", instance: S, owner: type | None = None
    ) -> "CachedFunction[Q, R]": ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._bind(instance, owner)


class AsyncCachedFunction(_Decorated, Generic[P, R]):
    """A coroutine function whose values are kept. All its methods are awaited, too."""

    def __init__(self, memo: Memo, kind: type) -> None:
        super().__init__(memo, kind)
        markcoroutinefunction(cast("Callable[..., Awaitable[Any]]", self))

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        recipe, build = self._order((*self._bound, *args), kwargs)
        return cast("R", await get_engine().aget_or_build(recipe, build))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value of this call, computed now and kept."""
        recipe, build = self._order((*self._bound, *args), kwargs)
        return cast("R", await get_engine().arefresh(recipe, build))

    async def get_many(self, calls: Iterable[Sequence[Any]]) -> list[R]:
        """The values of several calls, each given as the tuple of its arguments, in one round trip."""
        orders = [self._order(call, {}) for call in self._calls(calls)]
        return await get_engine().aget_many(orders)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the value of this call; inside a transaction: at its COMMIT."""
        await self._touch(self._memo.call_tag((*self._bound, *args), kwargs))

    async def invalidate_all(self) -> None:
        """Forget the values of all calls; inside a transaction: at its COMMIT."""
        await self._touch(self._memo.tag)

    async def _touch(self, tag: str) -> None:
        # In the thread where the connections of this context are, and their transactions.
        await sync_to_async(self._memo.hooks.touch)([tag])

    def _order(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Recipe, Callable[[], Awaitable[Any]]]:
        recipe = self._memo.recipe(args, kwargs)

        async def build() -> Any:
            value = await self._memo.function(*args, **kwargs)
            _keep(recipe, value)
            return value

        return recipe, build

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(
        self: "AsyncCachedFunction[Concatenate[S, Q], R]", instance: S, owner: type | None = None
    ) -> "AsyncCachedFunction[Q, R]": ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._bind(instance, owner)


@overload
def decorate(
    function: Callable[P, Coroutine[Any, Any, R]],
    *,
    timeout: Timeout,
    key: Any,
    tags: Any,
    hooks: Hooks,
) -> AsyncCachedFunction[P, R]: ...


@overload
def decorate(
    function: Callable[P, R], *, timeout: Timeout, key: Any, tags: Any, hooks: Hooks
) -> CachedFunction[P, R]: ...


def decorate(function: Any, *, timeout: Timeout, key: Any, tags: Any, hooks: Hooks) -> Any:
    """*function*, cached; see :func:`django_layercache.decorators.cached`."""
    kind = type(function)
    if isinstance(function, classmethod | staticmethod):
        function = function.__func__
    memo = Memo(function, timeout=timeout, key=key, tags=tags, hooks=hooks)
    made: type[CachedFunction[Any, Any] | AsyncCachedFunction[Any, Any]]
    made = AsyncCachedFunction if iscoroutinefunction(function) else CachedFunction
    return made(memo, kind)


def _keep(recipe: Recipe, value: Any) -> None:
    """Encode *value* inside the scope, if it may be stored at all."""
    may_be_stored = recipe.timeout != 0 and get_engine().enabled and not nothing_cached()
    if may_be_stored and isinstance(recipe.codec, SignedCodec):
        recipe.codec.keep(value)
