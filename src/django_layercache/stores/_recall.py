"""What this process remembers of the keys that it has read from the `redis` store.

The read script finds the tags of an entry in the entry. A process that has seen the entry before
knows them, and asks with plain commands, all in one round trip: the entry, the tokens of its tags,
the register's generation and sequence. The server does these in a tenth of the script's time.

Others' commands may come in between, and need not be feared: a mark deletes the token, no token
comes twice, and marks are lost only together with their generation. So a token that is there, and
whose generation is the register's afterwards, has not changed up to the instant at which it was
fetched; and the entry was fetched before. Everything else (a token is missing, the entry names
another tag, the register is damaged) is the script's business: it mints, and knows what is pending.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from django_layercache.exceptions import Undecodable
from django_layercache.stores import entries
from django_layercache.stores.base import Entry, Reading, Token
from django_layercache.stores.resp import Refusal, packed

__all__ = ["Recall", "Recalled"]

#: Bytes of commands that are kept; with the tags and tokens beside them, a third of what it takes.
MAX_BYTES = 4 * 1024 * 1024
#: The scripts do not let a sequence grow beyond it: doubles hold whole numbers exactly up to here.
_MAX_SEQUENCE = 2**53


K = TypeVar("K")


class _Seen(NamedTuple):
    """Replies that were understood once, and what they mean: they come again and again."""

    generation: bytes = b""
    tokens: Sequence[bytes] = ()
    states: Mapping[str, Token] = {}
    header: bytes = b""
    entry: Entry | None = None


class Recalled:
    """How to read one key, or some tags alone. *commands* get the entry if *key* is not ``None``."""

    __slots__ = ("_key", "_names", "_seen", "commands", "number")

    def __init__(self, key: str | None, names: Sequence[str], commands: Sequence[bytes]) -> None:
        self._key = key
        self._names = names
        self._seen = _Seen()
        self.commands = b"".join(commands)
        self.number = len(commands)

    def reading(self, tags: Sequence[str], replies: list[Any]) -> Reading | None:
        """The reading with the states of *tags*, or ``None`` if the script has to be asked."""
        if Refusal in map(type, replies):
            return None
        left, data = (0, None) if self._key is None else replies[:2]
        tokens = replies[-4] if self._names else ()
        (generation, sequence, identity), whom, _ = replies[-3:]
        position = _position(generation, sequence)
        if position is None or whom not in {b"", identity}:
            return None
        seen = self._understood(tokens, generation)
        if seen is None or not seen.states.keys() >= set(tags):
            return None
        if data is None:
            # Without a token, nothing tells whether the grace lasts.
            states = {tag: seen.states[tag] for tag in tags}
            return Reading(None, states, position) if self._names else None
        entry = self._entry(seen, data)
        if entry is None or seen.states.keys() != {*tags, *entry.tokens}:
            return None
        seconds = None if left == -1 else max(left, 0) / 1000
        return Reading(entry, seen.states, position, left=seconds)

    def _understood(self, tokens: Sequence[bytes], generation: bytes) -> _Seen | None:
        seen = self._seen
        if tokens == seen.tokens and generation == seen.generation:
            return seen
        if not _are_current(tokens, generation):
            return None
        names = zip(self._names, tokens, strict=True)
        states = {name: token.decode("latin-1") for name, token in names}
        seen = seen._replace(generation=generation, tokens=tokens, states=states)
        self._seen = seen
        return seen

    def _entry(self, seen: _Seen, data: bytes) -> Entry | None:
        if seen.entry is not None and data.startswith(seen.header):
            return Entry(seen.entry.tokens, data[len(seen.header) :], seen.entry.generation)
        try:
            entry = entries.unpack(self._key or "", data)
        except Undecodable:
            return None
        header = data[: len(data) - len(entry.payload)]
        empty = Entry(entry.tokens, b"", entry.generation)
        self._seen = seen._replace(header=header, entry=empty)
        return entry


def _position(generation: bytes | None, sequence: bytes | None) -> Token | None:
    """S0, if the register is there and sound."""
    if generation is None or sequence is None or len(generation) != 8:
        return None
    if not sequence.isdigit() or len(sequence) > 16 or int(sequence) >= _MAX_SEQUENCE:
        return None
    return (generation + sequence.rjust(16, b"0")).decode("latin-1")


def _are_current(tokens: Iterable[bytes | None], generation: bytes) -> bool:
    return all(token is not None and token.startswith(generation) for token in tokens)


class _Memory(Generic[K]):
    """Bounded in bytes of commands. When it is full, all is forgotten."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        self._known: dict[K, Recalled] = {}
        self.get = self._known.get

    def add(self, name: K, recalled: Recalled) -> Recalled:
        size = len(recalled.commands)
        if self.bytes + size > self._max_bytes:
            self._known.clear()
            self.bytes = 0
        self._known[name] = recalled
        self.bytes += size
        return recalled


class Recall:
    """The keys that are remembered, and what was asked without a key."""

    def __init__(self, prefix: str, register: str, whom: str, max_bytes: int = MAX_BYTES) -> None:
        self._prefix = prefix
        # In a cluster, see the scripts' prelude, *whom* stands for the identity of whoever
        # answers. A replica refuses PERSIST: see the read script.
        self._head = [
            packed("HMGET", register, "generation", "sequence", "identity"),
            packed("ECHO", whom),
            packed("PERSIST", register),
        ]
        self._keys: _Memory[str] = _Memory(max_bytes)
        # By themselves, as there are many that never come again.
        self._tags: _Memory[tuple[str, ...]] = _Memory(max_bytes // 4)

    def find(self, key: str | None, tags: Sequence[str]) -> Recalled | None:
        """How to read *key* with *tags* without a script, if that is known."""
        if key is not None:
            return self._keys.get(key)
        if not tags:
            return None
        names = tuple(tags)
        return self._tags.get(names) or self._tags.add(names, self._new(None, names))

    def keep(self, key: str | None, tags: Iterable[str]) -> None:
        """The entry under *key* has been seen, and *tags* are its and those that were asked for."""
        if key is not None:
            self._keys.add(key, self._new(key, tuple(tags)))

    def _new(self, key: str | None, tags: Sequence[str]) -> Recalled:
        names = tuple(dict.fromkeys(tags))
        prefix = self._prefix
        commands = []
        if key is not None:
            name = f"{prefix}e:{key}"
            commands += [packed("PTTL", name), packed("GET", name)]
        if names:
            commands.append(packed("MGET", *[f"{prefix}t:{name}" for name in names]))
        return Recalled(key, names, [*commands, *self._head])
