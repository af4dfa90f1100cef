"""The store contract: where tokens, marks and entries live.

A store is a handful of atomic operations. Which of them to call, and when, is the
protocol, and the protocol is in :mod:`django_layercache.engine`.

The contract, for every operation that names tags:

- A tag is either *settled* (it has a token), *pending* (it has a live mark) or *missing*
  (neither). A settled tag has no live mark: placing a mark removes the token.
- ``read`` never reports a missing tag. It *mints* a token for it, atomically with drawing
  it, after it has made certain that no live mark was lost.
- Tokens are drawn from one sequence for each store that only grows, inside the operation
  that publishes them.

``tests/stores/test_contract.py`` is this page as tests; every store passes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

__all__ = ["PENDING", "AsyncStore", "Entry", "Reading", "Slot", "Store", "Token", "TokenState"]

#: An opaque version of a tag: eight characters that name the store's *generation* (a new
#: one whenever the store may have lost data), then the position in its sequence, padded to
#: sixteen digits, so that tokens of one generation compare as strings.
Token = str

#: The state of a tag as a reader sees it: its token, or ``PENDING``.
TokenState = Token | None
PENDING: TokenState = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached value as bytes, with the tokens of all the tags that it depends on.

    ``generation`` is the store's at the reading that the value was built on. It tells what the
    tokens tell, where there are none.
    """

    tokens: Mapping[str, Token]
    payload: bytes
    generation: str = field(default="", compare=False)


class Slot(Protocol):
    """Where a store keeps an entry in this process, with room for its decoded value."""

    #: Whether :attr:`value` is the decoded value.
    is_decoded: bool
    #: Whether :meth:`keep` was told that the value may not be kept.
    is_refused: bool
    value: Any

    def keep(self, value: Any, size: int | None) -> None:
        """Keep *value*, which takes *size* bytes and nobody can change; ``None``: somebody can."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What one round trip fetched.

    ``states`` holds the state of every tag that was asked for and of every tag of the
    entry. ``sequence`` is the position of the store's sequence at that instant (S0 of the
    snapshot rule). ``in_grace`` says that the store has lost its marks a moment ago: no tag is
    settled before the grace is over. ``damage`` says why there is no entry, if there are bytes
    under the key that are none. ``left`` is how many seconds the entry may still be kept, ``None``
    for ever; 0 where the store cannot tell. ``slot`` is the entry's, if it is kept in this process.
    """

    entry: Entry | None
    states: Mapping[str, TokenState]
    sequence: Token
    in_grace: bool = False
    damage: str = ""
    left: float | None = 0.0
    slot: Slot | None = field(default=None, compare=False, repr=False)


class Store(Protocol):
    """One round trip for each call; each call is atomic.

    Every method may raise :exc:`~django_layercache.exceptions.StoreUnavailable`, and
    nothing else: bytes that cannot be read are no entry.
    """

    #: Marks are atomic and tokens ordered. A store that cannot promise it is ``bounded``.
    exact: bool
    #: No I/O: may be called on an event loop's thread.
    in_process: bool

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        """Fetch the entry under *key* (none if ``None``) and the state of its tags and of *tags*."""
        ...

    def read_many(self, requests: Sequence[tuple[str | None, Sequence[str]]]) -> list[Reading]:
        """Answer several ``read(key, tags)`` in one round trip."""
        ...

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        """Keep *entry* for *timeout* seconds, for ever if ``None``. A plain set."""
        ...

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        """Make *tags* pending until *writer* releases them, or for *lease* seconds."""
        ...

    def release(self, writer: str, tags: Iterable[str]) -> None:
        """Take *writer*'s marks away. A tag with no other live mark gets a new token.

        It gets one even where the mark is no longer there: its lease may have run out, and
        somebody may have minted a token and stored the old value under it.
        """
        ...

    def delete(self, key: str) -> None:
        """Drop the entry under *key*, if any."""
        ...

    def reset(self) -> None:
        """Make everything that was stored so far unreachable, in constant time."""
        ...

    def end_grace(self, sequence: Token) -> None:
        """No mark can have been lost any more, if *sequence* is of the present generation."""
        ...

    def close(self) -> None:
        """Give back connections. The store may be used again afterwards."""
        ...


@runtime_checkable
class AsyncStore(Protocol):
    """What a store may offer besides: the operations of a reader, awaited on any event loop.

    A cancelled one may have been carried out or not.
    """

    async def aread(self, key: str | None, tags: Sequence[str]) -> Reading:
        """:meth:`Store.read`."""
        ...

    async def aread_many(
        self, requests: Sequence[tuple[str | None, Sequence[str]]]
    ) -> list[Reading]:
        """:meth:`Store.read_many`."""
        ...

    async def awrite(self, key: str, entry: Entry, timeout: float | None) -> None:
        """:meth:`Store.write`."""
        ...
