"""Rows that were read before the fragment was, and that it shows.

A view reads a post and hands it to the template; a fragment shows its title. While the fragment
is built nothing is read, so nothing says that it depends on the post. Its key does: what the
model instances that it looks up have loaded is part of it. When the post has changed, it is
another key. Names that the fragment varies on in full need not be looked at again.
"""

from collections.abc import Iterable
from typing import Any

from django.core.paginator import Page
from django.db.models import Model, QuerySet
from django.template import Context
from django.utils.functional import LazyObject, empty

from django_layercache.serializers.keyable import canonical

__all__ = ["rows_behind", "user_names"]


def rows_behind(context: Context, names: Iterable[str], varies: Iterable[str]) -> str:
    """The text of the rows that *names* stand for, except where *varies* says all there is to it.

    Raises :exc:`~django_layercache.exceptions.UnkeyableArgument` for what cannot be spelt.
    """
    left = set(names) - set(varies)
    texts = []
    for root in sorted({name.partition(".")[0] for name in left}):
        rows = _rows(context.get(root))
        if rows is not None:
            texts.append(canonical((root, rows)))
    if user_names(left):
        texts.append(canonical(("user", _user(context))))
    return "".join(texts)


def user_names(names: Iterable[str]) -> list[str]:
    """Those of *names* that say something about who is asking."""
    return [
        name
        for name in names
        if name.partition(".")[0] in {"user", "perms"} or f"{name}.".startswith("request.user.")
    ]


def _user(context: Context) -> Any:
    request = context.get("request")
    return context.get("user", getattr(request, "user", None))


def _rows(value: Any) -> Any:
    """What *value* holds of rows, to be spelt; ``None`` if there are none, or none yet."""
    if issubclass(type(value), LazyObject):
        value = None if value._wrapped is empty else value._wrapped
    if isinstance(value, Model):
        return value
    if isinstance(value, QuerySet):
        return value._result_cache
    if isinstance(value, Page):
        return value.number, _rows(value.object_list), value.paginator.__dict__.get("count")
    if isinstance(value, list | tuple) and value and isinstance(value[0], Model):
        return list(value)
    return None
