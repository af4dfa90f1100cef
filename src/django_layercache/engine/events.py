"""What happened in the layers, for whoever wants to watch: the demo's strip, tests, metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

__all__ = ["Event", "Outcome", "record", "trace", "tracing"]

#: ``hit``: answered from the store. ``miss``: built, and stored if that was possible.
#: ``bypass``: built, because the store may not be used now.
Outcome = Literal["hit", "miss", "bypass"]


@dataclass(frozen=True, slots=True)
class Event:
    """One answer of one layer.

    ``seconds`` is how long it took, building included; ``tags`` what it depends on;
    ``reason`` why it was not a hit or was not stored, empty where there is nothing to say.
    """

    layer: str
    key: str
    outcome: Outcome
    seconds: float
    tags: tuple[str, ...] = ()
    reason: str = ""


_traces: ContextVar[tuple[list[Event], ...]] = ContextVar("layercache_traces", default=())


@contextmanager
def trace() -> Iterator[list[Event]]:
    """Collect the events of everything inside the block, innermost first, in a list."""
    events: list[Event] = []
    reset = _traces.set((*_traces.get(), events))
    try:
        yield events
    finally:
        _traces.reset(reset)


def tracing() -> bool:
    """Whether anybody watches."""
    return bool(_traces.get())


def record(event: Event) -> None:
    """Tell everybody who watches."""
    for events in _traces.get():
        events.append(event)
