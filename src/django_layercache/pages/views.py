"""Views as layers of pages: functions, classes, and their ``dispatch``; sync and async."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from django_layercache.exceptions import InvalidArgument
from django_layercache.pages.layer import PageLayer
from django_layercache.pages.watching import watch
from django_layercache.timeouts import Timeout

__all__ = ["decorate_view"]


def decorate_view(view: Any, timeout: Timeout) -> Any:
    """*view*, cached; see :func:`django_layercache.decorators.cache_view`."""
    if isinstance(view, type) and issubclass(view, View):
        return _decorate_class(view, timeout)
    if isinstance(view, type) or not callable(view):
        raise InvalidArgument(
            f"@cache_view decorates views, not {view!r}. "
            "Write @cache_view or @cache_view(timeout=...)."
        )
    layer = PageLayer(f"view.{_name(view)}", timeout)
    return _decorate_async(view, layer) if _is_async(view) else _decorate_sync(view, layer)


def _decorate_sync(view: Callable[..., Any], layer: PageLayer) -> Callable[..., Any]:
    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _check_request(request)

        def respond() -> HttpResponseBase:
            watch(request)
            response: Any = view(request, *args, **kwargs)
            # Rendered here, and not later by Django's handler: what the template reads from the
            # database is a dependency of the page only while the scope is open. Middleware that
            # has a process_template_response() comes too late for it.
            return response.render() if _is_unrendered(response) else response  # type: ignore[no-any-return]

        return layer.answer(request, respond)

    return wrapper


def _decorate_async(view: Callable[..., Any], layer: PageLayer) -> Callable[..., Any]:
    @wraps(view)
    async def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _check_request(request)

        async def respond() -> HttpResponseBase:
            watch(request)
            response: Any = await view(request, *args, **kwargs)
            if _is_unrendered(response):
                response = await sync_to_async(response.render, thread_sensitive=True)()
            return response  # type: ignore[no-any-return]

        return await layer.aanswer(request, respond)

    return wrapper


def _decorate_class(view: type[View], timeout: Timeout) -> type[View]:
    """Not ``dispatch``, which is a plain function in an async view too, but what is called from outside."""
    as_view = view.as_view.__func__  # type: ignore[attr-defined]

    @wraps(as_view)
    def cached_as_view(cls: type[View], **initkwargs: Any) -> Any:
        return decorate_view(as_view(cls, **initkwargs), timeout)

    made: Any = cached_as_view
    view.as_view = classmethod(made)  # type: ignore[assignment]
    return view


def _is_async(view: Any) -> bool:
    instance = _instance_of(view)
    return iscoroutinefunction(view) or bool(getattr(instance, "view_is_async", False))


def _instance_of(view: Any) -> Any:
    """The view that *view* is a method of, if any: ``method_decorator`` hands on a partial of it."""
    return getattr(getattr(view, "func", view), "__self__", None)


def _name(view: Any) -> str:
    instance = _instance_of(view)
    named = getattr(view, "view_class", None) or (type(instance) if instance is not None else view)
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{named.__module__}.{named.__qualname__}"


def _is_unrendered(response: Any) -> bool:
    return callable(getattr(response, "render", None)) and not getattr(
        response, "is_rendered", False
    )


def _check_request(request: Any) -> None:
    if not hasattr(request, "META"):
        raise TypeError(
            f"A cached view got {request!r} and not a request. To cache a method of a class, "
            "decorate the class, or use django.utils.decorators.method_decorator."
        )
