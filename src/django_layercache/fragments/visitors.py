"""What belongs to one visitor, and therefore into no fragment that others get to see.

Nothing of Django is patched: while a fragment is rendered, names in its context stand for lazy
objects that hand out the real one and remember that they did.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.template import Context
from django.utils.functional import SimpleLazyObject

from django_layercache.engine import current_scope

__all__ = ["watching"]

_PRIVATE = {
    "csrf_token": "it holds a visitor's CSRF token",
    "csp_nonce": "it holds the nonce of one response",
    "messages": "it holds a visitor's messages",
}


@contextmanager
def watching(context: Context) -> Iterator[None]:
    """Inside the block, reading what is private forbids to store the fragment, and what encloses it."""
    spies = {name: _spy(context[name], why) for name, why in _PRIVATE.items() if name in context}
    with context.push(**spies):
        yield


def _spy(value: Any, why: str) -> "SimpleLazyObject[Any]":
    def reveal() -> Any:
        _forbid(why)
        return value

    return SimpleLazyObject(reveal)


def _forbid(why: str) -> None:
    scope = current_scope()
    if scope is not None:
        scope.forbid(why)
