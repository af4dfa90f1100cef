"""What a child of this process must not take over as it is: connections, and locks that others hold.

Of a forked process only the thread that forked it lives on. A lock that another one held at that
moment is never released there.
"""

import os
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

__all__ = ["forget_in_children", "renewed_in_children"]


class _Forgetful(Protocol):
    def forget(self) -> None: ...


T = TypeVar("T")

_forgetful: "WeakSet[_Forgetful]" = WeakSet()
_renewed: "WeakSet[Any]" = WeakSet()


def forget_in_children(forgetful: _Forgetful) -> None:
    """Have ``forget()`` called in each child of this process, when its locks are free."""
    _forgetful.add(forgetful)


def renewed_in_children(lock: T) -> T:
    """*lock*, or event, which nobody holds in a child of this process at first."""
    _renewed.add(lock)
    return lock


def _after_fork() -> None:
    for lock in list(_renewed):
        lock._at_fork_reinit()  # as the standard library does with its own
    for forgetful in list(_forgetful):
        forgetful.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
