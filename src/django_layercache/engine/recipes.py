"""What the layers hand to the engine: where a value is kept and how it becomes bytes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from django_layercache.engine.late import Late

__all__ = ["Codec", "Recipe"]


class Codec(Protocol):
    """Turns values into bytes and back."""

    def dumps(self, value: Any) -> bytes:
        """The bytes of *value*; raises :exc:`~django_layercache.exceptions.Unstorable`."""
        ...

    def loads(self, data: bytes) -> Any:
        """A fresh value; raises :exc:`~django_layercache.exceptions.Undecodable`, runs no code from *data*."""
        ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """One value of one layer.

    ``timeout`` is in seconds, ``None`` for ever, 0 to not store. ``tags`` are those known
    before building; what is read while building is recorded in the scope. ``settle`` is for
    a value whose dependencies are known only from the value itself: it picks, from ``tags``,
    those that it does depend on, and then nothing but them counts. ``place`` is for a value
    that says itself where, and for how many seconds, it is kept (a page says so in its
    headers); it is asked right before the value is stored, and only then. ``late`` says which
    late tags may take the place of which of ``tags``: :mod:`django_layercache.engine.late`.

    ``size_of`` is how many bytes a decoded value takes that several callers may share, ``None``
    if they may not; a store in this process then keeps it, and it is decoded once.
    ``hand_out`` makes of a decoded value what one caller gets; it may raise
    :exc:`~django_layercache.exceptions.Undecodable`.
    """

    layer: str
    key: str
    codec: Codec
    timeout: float | None
    tags: tuple[str, ...] = ()
    settle: Callable[[Any], Iterable[str]] | None = None
    place: Callable[[Any], tuple[str, float | None]] | None = None
    late: Callable[[Any], Late] | None = None
    size_of: Callable[[Any], int | None] | None = None
    hand_out: Callable[[Any], Any] | None = None

    def placed(self, value: Any) -> tuple[str, float | None]:
        """The key and the timeout under which *value* is to be stored."""
        return (self.key, self.timeout) if self.place is None else self.place(value)
