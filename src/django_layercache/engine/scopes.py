"""Scopes: recorders of the tags that are read while something is built.

They nest, and they bubble up: when a scope closes, the one around it depends on all that it
depended on. The current scope is a context variable, so it follows ``await``, ``gather`` and
``sync_to_async`` into tasks and threads. A thread that is started by hand inside a scope is
not followed, unless it is run in a copy of the context.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from django_layercache.stores.base import TokenState

__all__ = [
    "Scope",
    "current_scope",
    "nothing_cached",
    "open_scope",
    "recording_scope",
    "without_cache",
]


class Scope:
    """The tags that were read so far, each with its state *before* it was read.

    The first state of a tag is the one that counts: whatever was read later was at least as
    fresh. ``objection`` says why what is being built must not be stored, if it must not.
    """

    __slots__ = ("objection", "states", "tenant")

    def __init__(self, tenant: str = "") -> None:
        #: For whom it is built.
        self.tenant = tenant
        self.states: dict[str, TokenState] = {}
        self.objection: str | None = None

    def observe(self, states: Mapping[str, TokenState], objection: str | None = None) -> None:
        """Depend on the tags of *states*."""
        for tag, state in states.items():
            self.states.setdefault(tag, state)
        if objection is not None:
            self.forbid(objection)

    def forbid(self, objection: str) -> None:
        """Do not store what is being built, nor what encloses it."""
        if self.objection is None:
            self.objection = objection

    def keep_to(self, tenant: str) -> None:
        """Something for *tenant* is read: by all that we know, the wrong one for what is being built."""
        if self.tenant != tenant:
            self.forbid("what is read is of another tenant")

    def bubble(self, child: "Scope", tags: Iterable[str]) -> None:
        """Depend on *tags*, which *child* read."""
        self.observe({tag: child.states[tag] for tag in tags}, child.objection)


_current: ContextVar[Scope | None] = ContextVar("layercache_scope", default=None)
_bypassed: ContextVar[bool] = ContextVar("layercache_bypassed", default=False)


def current_scope() -> Scope | None:
    """The innermost scope that is open here, if any."""
    return _current.get()


def recording_scope() -> Scope | None:
    """The innermost scope, if what is read matters to it: nothing does to one that is not stored."""
    scope = _current.get()
    return None if scope is None or scope.objection is not None else scope


@contextmanager
def open_scope(scope: Scope) -> Iterator[Scope]:
    """Record into *scope* what is read inside the block. Bubbling is the caller's."""
    reset = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(reset)


def nothing_cached() -> bool:
    """Whether the reader is inside :func:`without_cache`."""
    return _bypassed.get()


@contextmanager
def without_cache() -> Iterator[None]:
    """Inside the block no layer answers from the store, and none stores."""
    reset = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(reset)
