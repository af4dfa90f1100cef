"""The decorators: thin front doors of the layers of functions and of pages."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from django_layercache.functions import AsyncCachedFunction, CachedFunction, decorate
from django_layercache.functions.memo import Hooks
from django_layercache.functions.options import Tags
from django_layercache.pages import decorate_view
from django_layercache.querysets import by_hand
from django_layercache.timeouts import DEFAULT, Timeout, checked_timeout

__all__ = ["cache_view", "cached"]

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V", bound=Callable[..., Any])


class _Cached(Protocol):
    """``@cached(...)``, before it is told the function."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncCachedFunction[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...


@overload
def cached(  # type: ignore[overload-overlap]
    function: Callable[P, Coroutine[Any, Any, R]], /
) -> AsyncCachedFunction[P, R]: ...


@overload
def cached(function: Callable[P, R], /) -> CachedFunction[P, R]: ...


@overload
def cached(
    *, timeout: Timeout = ..., key: Callable[..., Any] | None = ..., tags: Tags = ...
) -> _Cached: ...


def cached(
    function: Any = None,
    /,
    *,
    timeout: Timeout = DEFAULT,
    key: Callable[..., Any] | None = None,
    tags: Tags = (),
) -> Any:
    """A function or method, sync or async, whose values are kept until what it has read changes.

    *timeout* is in seconds; ``None`` for ever; by default that of the settings. *key* is a
    callable that takes the same arguments and returns what tells the calls apart; without it
    every argument must be a plain value, a saved model instance or a class. *tags* are names
    and model classes that every value depends on, or a callable that takes the arguments and
    returns them; what is read while computing the value needs no naming.

    What it returns has, beside being the function: ``invalidate(*args)``, ``invalidate_all()``,
    ``refresh(*args)`` and ``get_many([args, ...])``; to be awaited where the function is.

    On a class method, put ``@cached`` above ``@classmethod``.

    Raises :exc:`~django_layercache.exceptions.InvalidArgument` where it stands, and
    :exc:`~django_layercache.exceptions.UnkeyableArgument` at a call.
    """

    def decorator(function: Any) -> Any:
        return decorate(function, timeout=timeout, key=key, tags=tags, hooks=_HOOKS)

    return decorator if function is None else decorator(function)


@overload
def cache_view(view: V, /) -> V: ...


@overload
def cache_view(*, timeout: Timeout = ...) -> Callable[[V], V]: ...


def cache_view(view: Any = None, /, *, timeout: Timeout = DEFAULT) -> Any:
    """A view, sync or async, whose pages are kept until what they have read changes.

    For functions, for what ``as_view()`` returns, for classes of views, and with Django's
    ``method_decorator`` for ``dispatch``. *timeout* is in seconds; ``None`` for ever; by default
    what the response's own ``max-age`` says, else that of the settings. What may be stored, and
    by which request headers pages differ, is decided as in Django's ``cache_page``; pages that
    are for one visitor are never stored.

    Raises :exc:`~django_layercache.exceptions.InvalidArgument` where it stands.
    """
    checked_timeout(timeout)

    def decorator(view: Any) -> Any:
        return decorate_view(view, timeout)

    return decorator if view is None else decorator(view)


def _name(what: Iterable[Any]) -> Iterable[str]:
    return [tag for thing in what for tag in by_hand.tags_to_read(thing, None)]


_HOOKS = Hooks(by_hand.touch, _name)
