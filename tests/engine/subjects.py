"""The stores that are explored: the real ones, with their content taken out and put back, and their clock in hand."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from django_layercache.stores.base import Entry, Store
from django_layercache.stores.local import LocalStore

LEASE = 30.0

#: What a store holds, as tuples of tuples.
Content = tuple[Any, ...]


class Happening(NamedTuple):
    """Something that the environment may do to a store.

    ``kind`` is what it takes from the budget; ``consequence`` is "lease" or "grace" if so much time passes, "loses
    marks" if marks are gone that somebody may rely on.
    """

    kind: str
    label: str
    content: Content
    consequence: str = ""


class Subject(Protocol):
    """A store under exploration."""

    store: Store
    #: Whether tokens may be replaced by others in the same order.
    renames: bool

    def load(self, content: Content, top: int) -> None:
        """Put *content* into the store; *top* is the highest token that anybody holds."""
        ...

    def save(self) -> Content: ...

    def happenings(self, content: Content) -> Iterator[Happening]: ...


class LocalSubject:
    """The `local` store. Its content: tokens, marks with the seconds that they have left, entries.

    *more* names dictionaries that a mutant has besides.
    """

    renames = True
    generation = "0" * 8

    def __init__(self, store_class: type[LocalStore] = LocalStore, more: str = "") -> None:
        self.now = 0.0
        self.more = more.split()
        self.store = store_class(clock=lambda: self.now)
        self.store._generation = self.generation

    def load(self, content: Content, top: int) -> None:
        tokens, marks, entries, *more = content
        store = self.store
        self.now = 0.0
        store._sequence = top
        store._tokens = dict(tokens)
        store._marks = {}
        for tag, writer, left in marks:
            store._marks.setdefault(tag, {})[writer] = left
        store._entries = OrderedDict(
            (key, (Entry(dict(tokens), payload), None, 0)) for key, tokens, payload in entries
        )
        store._bytes = 0
        for name, items in zip(self.more, more, strict=True):
            setattr(store, name, dict(items))

    def save(self) -> Content:
        store = self.store
        return (
            tuple(sorted(store._tokens.items())),
            tuple(
                sorted(
                    (tag, writer, left)
                    for tag, marks in store._marks.items()
                    for writer, left in marks.items()
                )
            ),
            tuple(
                sorted(
                    (key, tuple(entry.tokens.items()), entry.payload)
                    for key, (entry, _, _) in store._entries.items()
                )
            ),
            *(tuple(sorted(getattr(store, name).items())) for name in self.more),
        )

    def happenings(self, content: Content) -> Iterator[Happening]:
        tokens, marks, entries, *more = content
        for tag, _ in tokens:
            kept = tuple(item for item in tokens if item[0] != tag)
            yield Happening(
                "evict", f"the token of {tag} is evicted", (kept, marks, entries, *more)
            )
        if any(left for _, _, left in marks):
            spent = tuple((tag, writer, 0) for tag, writer, _ in marks)
            yield Happening(
                "expire", "every lease runs out", (tokens, spent, entries, *more), "lease"
            )
        self.load(content, 0)
        self.store.reset()
        yield Happening("reset", "the store is reset", self.save())
