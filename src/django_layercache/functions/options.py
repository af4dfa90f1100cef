"""What may be decorated, and with what: checked where the decorator stands, not at the first call."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Model

from django_layercache.exceptions import InvalidArgument

__all__ = ["Tags", "checked_function", "checked_key", "checked_tags"]

#: Names of the user's, model classes, or a callable that takes the arguments and returns them.
Tags = Iterable[str | type[Model]] | Callable[..., Iterable[Any]]


def checked_function(function: Any) -> Callable[..., Any]:
    """*function* if its results can be kept."""
    if isinstance(function, type) or not callable(function):
        raise InvalidArgument(
            f"@cached decorates functions and methods, not {function!r}. "
            "Write @cached or @cached(timeout=...); a property goes above it, not below."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidArgument(
            f"{function.__qualname__}() is a generator, and what it yields is gone after one use. "
            "Return a list."
        )
    if not hasattr(function, "__qualname__") or not hasattr(function, "__module__"):
        raise InvalidArgument(
            f"{function!r} has no name that would be the same in every process. "
            "Wrap it in a function of yours."
        )
    return function  # type: ignore[no-any-return]


def checked_key(key: Any) -> Callable[..., Any] | None:
    """*key* if it is a callable or ``None``."""
    if key is not None and not callable(key):
        raise InvalidArgument(
            f"key= is a callable that takes the arguments of the function; not {key!r}."
        )
    return key  # type: ignore[no-any-return]


def checked_tags(tags: Any) -> tuple[str | type[Model], ...] | Callable[..., Iterable[Any]]:
    """*tags* if it is a callable, or names and model classes."""
    if callable(tags) and not isinstance(tags, type):
        return tags  # type: ignore[no-any-return]
    if isinstance(tags, str | type) or not isinstance(tags, Iterable):
        raise InvalidArgument(f"tags= is a list or a tuple, or a callable; not {tags!r}.")
    checked: tuple[str | type[Model], ...] = tuple(tags)
    for tag in checked:
        if not (isinstance(tag, str) and tag) and not _is_model(tag):
            raise InvalidArgument(f"A tag is a name or a model class; not {tag!r}.")
    return checked


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Model)
