"""What the transaction that a reader is in allows it to use.

The engine does not know transactions. Who does (:mod:`django_layercache.querysets`) tells it
through an :class:`Isolation`.
"""

from collections.abc import Mapping
from typing import Protocol

from django_layercache.stores.base import PENDING, Token, TokenState
from django_layercache.tags import readable

__all__ = ["Isolation", "is_not_after", "objection", "pending_tags"]


class Isolation(Protocol):
    """The reader's own transactions."""

    @property
    def has_written(self) -> bool:
        """Whether they hold locks that a builder in another thread might wait for."""
        ...

    def objection(self, states: Mapping[str, TokenState]) -> str | None:
        """Why values that depend on tags in these *states* may not be used or stored here; ``None`` if they may."""
        ...

    def must_read(self, states: Mapping[str, TokenState]) -> str | None:
        """Why they may not be used although they may be stored; ``None`` if they may be both."""
        ...


def is_not_after(token: Token, sequence: Token) -> bool:
    """Whether *token* was drawn at or before *sequence*, a position of the same store's sequence.

    Tokens of different generations have no order.
    """
    return token[:8] == sequence[:8] and token <= sequence


def pending_tags(states: Mapping[str, TokenState]) -> list[str]:
    """The tags under which somebody is about to commit."""
    return [tag for tag, state in states.items() if state is PENDING]


def objection(isolation: Isolation | None, states: Mapping[str, TokenState]) -> str | None:
    """Rule 2 of reading, and the reader's own transaction: why *states* allow neither hit nor store."""
    pending = pending_tags(states)
    if pending:
        return f"pending: {', '.join(readable(pending))}"
    return isolation.objection(states) if isolation is not None else None
