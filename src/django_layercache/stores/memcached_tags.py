"""The protocol's atomic steps on a server that has no scripts: compare-and-swap, until nothing came between.

A step is a pipeline that fetches and one that swaps; a tag that was changed between the two is
fetched again. Four things make that as good as a script, whatever items vanish at whatever moment:

- A token is drawn *between* the fetching of a tag and its swap, so no other change of the tag
  can lie between the drawing and the publishing. A tag that there is not is first made, empty,
  and then fetched: only of an item that is there can one know that it stayed the same.
- A mark goes into the register first, then on its tag. Who publishes fetches the tag first, then
  the register. So either he finds the mark in the register, or the swap fails.
- Whoever places marks looks, at the end, whether the register is still the one that counts.
- If the register, the sequence or the head is gone, the server has lost data: a new generation
  begins, in which nothing is settled until a grace is over. The grace is counted from a time at
  which everybody could see that it had begun.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import PENDING, Token, TokenState
from django_layercache.stores.memcached_items import (
    Head,
    Keys,
    Marks,
    Register,
    is_live,
    pack_marks,
    pack_token,
    unpack_marks,
    unpack_token,
)
from django_layercache.stores.memcached_wire import (
    Add,
    Append,
    Cas,
    Command,
    Connection,
    Get,
    Incr,
    Item,
    Stats,
)

__all__ = ["Seen", "Tags", "server_time"]

_TTL = 7 * 24 * 3600
_EMPTY = pack_marks({})
#: How often somebody else may come in between.
_TRIES = 100
#: Seconds between asking for the time and having placed a mark whose lease begins with it.
_LONGEST_PAUSE = 1.0
#: Bytes of a register that is tidied up. An item holds a million.
_TIDY_ABOVE = 32 * 1024


class _Clock:
    # Held by a class, out of reach of tools that freeze time by replacing the functions of modules.
    monotonic = staticmethod(time.monotonic)


def server_time(stats: Mapping[bytes, bytes]) -> float:
    """The server's clock. It shows whole seconds."""
    return float(stats[b"time"])


class Seen(NamedTuple):
    """What one look has found: items by their keys, those of tags by tag, and the rest of the state."""

    found: Mapping[bytes, Item]
    tags: Mapping[str, Item | None]
    head: Head
    head_item: Item
    position: int


class Tags:
    """The tags of one namespace on one server.

    *slack* is what is added to every lease and grace, in seconds: one for a clock that shows whole
    seconds, one for what passes between asking for the time and placing the mark.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        grace: float,
        clock: Callable[[Mapping[bytes, bytes]], float] = server_time,
        slack: float = 1.0 + _LONGEST_PAUSE,
    ) -> None:
        self._keys = keys
        self._grace = grace
        self._clock = clock
        self._slack = slack
        #: The last one that was seen. Whoever goes by it looks, in the same pipeline, whether it still counts.
        self._head: Head | None = None

    # -- reading --------------------------------------------------------------------------

    def look(
        self, connection: Connection, tags: Iterable[str], before: Sequence[bytes] = ()
    ) -> Seen:
        """Fetch the items under the keys *before*, then *tags*, then the position of the sequence."""
        keys = {self._keys.tag(tag): tag for tag in tags}
        for _ in _tries():
            guess = self._head
            last = [self._keys.head] if guess is None else [self._keys.head, self._sequence(guess)]
            found, items, top = connection.exchange(
                [Get(tuple(before)), Get(tuple(keys)), Get(tuple(last))]
            )
            head_item = top.get(self._keys.head)
            head = self._understood(connection, head_item)
            if head is None or guess is None or head.generation != guess.generation:
                continue
            position = _number(top.get(self._sequence(head)))
            if position is None:
                self._begin(connection, head_item, head)
                continue
            states = {tag: items.get(key) for key, tag in keys.items()}
            return Seen(found, states, head, head_item, position)
        raise AssertionError

    def states(
        self, connection: Connection, seen: Seen, tags: Iterable[str]
    ) -> tuple[dict[str, TokenState], Token, bool]:
        """The state of *tags*, which were *seen*; the position; whether there is a grace."""
        states = {tag: _token(seen.tags[tag], seen.head) for tag in tags}
        position = seen.head.position(seen.position)
        trusted = self._is_trusted(connection, seen.head, seen.head_item)
        unsettled = [tag for tag, state in states.items() if state is PENDING]
        if trusted and unsettled:
            mintable = self._without_live_marks(connection, seen, unsettled)
            if mintable:
                minted, position = self._publish(connection, mintable)
                states |= minted
        return states, position, not trusted

    def _without_live_marks(
        self, connection: Connection, seen: Seen, tags: Sequence[str]
    ) -> list[str]:
        marks = {tag: _marks(seen.tags[tag]) for tag in tags}
        now = self._now(connection) if any(marks.values()) else 0.0
        return [tag for tag in tags if not is_live(marks[tag], now)]

    # -- writing --------------------------------------------------------------------------

    def mark(self, connection: Connection, writer: str, tags: Sequence[str], lease: float) -> None:
        """Place marks of *writer* on *tags*, for *lease* seconds at the least."""
        left, recorded = list(tags), ""
        for _ in _tries():
            begun = _Clock.monotonic()
            items, top, stats = connection.exchange(
                [Get(self._tag_keys(left)), Get((self._keys.head,)), Stats()]
            )
            head = self._understood(connection, top.get(self._keys.head))
            if head is None:
                continue
            now = self._clock(stats)
            expiry = now + lease + self._slack
            commands: list[Command] = []
            if recorded != head.register:
                line = Register.placed(writer, expiry, tags)
                commands.append(Append(self._keys.register(head), line))
            commands += [self._marking(items, tag, writer, expiry, now) for tag in left]
            *stored, top = connection.exchange([*commands, Get((self._keys.head,))])
            if recorded != head.register and not stored.pop(0):
                self._begin(connection, top.get(self._keys.head), None, lost=head)
                continue
            after = self._understood(connection, top.get(self._keys.head))
            if after is None or after.register != head.register or _is_late(begun):
                left, recorded = list(tags), ""
                continue
            recorded = head.register
            left = [tag for tag, was_stored in zip(left, stored, strict=True) if not was_stored]
            if not left:
                return

    def _marking(
        self, items: Mapping[bytes, Item], tag: str, writer: str, expiry: float, now: float
    ) -> Command:
        key = self._keys.tag(tag)
        item = items.get(key)
        marks = {who: until for who, until in _marks(item).items() if until > now}
        value = pack_marks(marks | {writer: expiry})
        return Add(key, value, _TTL) if item is None else Cas(key, value, item.unique, _TTL)

    def release(self, connection: Connection, writer: str, tags: Sequence[str]) -> None:
        """Take the marks of *writer* away, and publish new tokens where there are no others."""
        self._publish(connection, tags, writer)

    def reset(self, connection: Connection) -> None:
        """Begin a generation. The register stays, as the marks' writers have not committed yet."""
        for _ in _tries():
            (top,) = connection.exchange([Get((self._keys.head,))])
            item = top.get(self._keys.head)
            head = self._understood(connection, item)
            if head is not None and self._begin(connection, item, head):
                return

    def end_grace(self, connection: Connection, generation: str) -> None:
        """Trust the server, if it is in *generation*."""
        for _ in _tries():
            (top,) = connection.exchange([Get((self._keys.head,))])
            item = top.get(self._keys.head)
            head = self._understood(connection, item)
            if head is not None and (
                head.generation != generation or self._change(connection, head, item, 0.0)
            ):
                return

    # -- publishing: a mint, and the second half of a release ---------------------------------

    def _publish(
        self, connection: Connection, tags: Sequence[str], writer: str | None = None
    ) -> tuple[dict[str, TokenState], Token]:
        """Give each of *tags* a new token, unless somebody else has a mark on it.

        Without a *writer*, one that has a token keeps it. Returns their states, and the position.
        """
        states: dict[str, TokenState] = {}
        left, told = list(tags), ""
        for _ in _tries():
            fetched = self._fetch(connection, left, writer if told == "" else None, tags)
            if fetched is None:
                continue
            told = fetched.head.register
            choices = self._choose(connection, fetched, left, writer)
            stored = self._swap(connection, fetched, choices)
            states |= {tag: state for tag, (_, state) in choices.items() if tag in stored}
            left = [tag for tag in left if tag not in stored]
            if not left:
                return states, fetched.head.position(fetched.position)
        raise AssertionError

    def _fetch(
        self, connection: Connection, left: Sequence[str], teller: str | None, tags: Sequence[str]
    ) -> "_Fetched | None":
        """Everything that decides what becomes of the tags *left*; ``None`` if it has to be fetched again."""
        head = self._head or self.look(connection, ()).head
        keys, register = self._tag_keys(left), self._keys.register(head)
        commands: list[Command] = [Add(key, _EMPTY, _TTL) for key in keys]
        if teller is not None:
            # It has committed: whatever is published from now on is from after that.
            commands.append(Append(register, Register.taken(teller, tags)))
        commands += [Get(keys), Incr(self._sequence(head), len(left))]
        *_, items, last, registers, top = connection.exchange(
            [*commands, Get((register,)), Get((self._keys.head,))]
        )
        head_item = top.get(self._keys.head)
        now = self._understood(connection, head_item)
        if now is None or now[:2] != head[:2]:
            return None
        if register not in registers:
            self._begin(connection, head_item, None, lost=now)
            return None
        if last is None:
            self._begin(connection, head_item, now)
            return None
        return _Fetched(now, head_item, items, last, registers[register])

    def _choose(
        self, connection: Connection, fetched: "_Fetched", left: Sequence[str], writer: str | None
    ) -> dict[str, tuple[bytes, TokenState]]:
        """What each tag that is there is to be, as bytes and as a state."""
        trusted = self._is_trusted(connection, fetched.head, fetched.head_item)
        register = Register(fetched.register.value)
        marks = {tag: register.marks(tag) | _marks(fetched.item(self._keys, tag)) for tag in left}
        now = self._now(connection) if any(marks.values()) else 0.0
        chosen: dict[str, tuple[bytes, TokenState]] = {}
        for position, tag in enumerate(left, fetched.position - len(left) + 1):
            item = fetched.item(self._keys, tag)
            if item is None:
                continue  # vanished again
            others: Marks = {
                who: until for who, until in marks[tag].items() if until > now and who != writer
            }
            token = _token(item, fetched.head)
            if writer is None and token is not None:
                chosen[tag] = item.value, token
            elif others or not trusted:
                chosen[tag] = pack_marks(others), PENDING
            else:
                token = fetched.head.position(position)
                chosen[tag] = pack_token(token), token
        return chosen

    def _swap(
        self,
        connection: Connection,
        fetched: "_Fetched",
        choices: Mapping[str, tuple[bytes, TokenState]],
    ) -> set[str]:
        """Put what was chosen in place; returns the tags of which it is true now."""
        true, swaps = set(), {}
        for tag, (value, _) in choices.items():
            item = fetched.item(self._keys, tag)
            if item is None or value == item.value:
                true.add(tag)
            else:
                swaps[tag] = Cas(self._keys.tag(tag), value, item.unique, _TTL)
        commands: list[Command] = [*swaps.values()]
        if len(fetched.register.value) > _TIDY_ABOVE:
            tidied = Register(fetched.register.value).tidied(self._now(connection))
            register = self._keys.register(fetched.head)
            commands.append(Cas(register, tidied, fetched.register.unique))
        replies = connection.exchange(commands) if commands else []
        return true | {tag for tag, stored in zip(swaps, replies, strict=False) if stored}

    # -- the head -------------------------------------------------------------------------

    def _understood(self, connection: Connection, item: Item | None) -> Head | None:
        """The head in *item*. If it is of no use a new generation is begun, and there is none for now."""
        head = None if item is None else Head.unpack(item.value)
        if head is None or head.identity != connection.identity:
            self._begin(connection, item, None)
            return None
        self._head = head
        return head

    def _begin(
        self,
        connection: Connection,
        item: Item | None,
        kept: Head | None,
        *,
        lost: Head | None = None,
    ) -> bool:
        """Begin a generation in place of the one in *item*; whether nobody else did.

        Its marks are those of *kept*, or unknown. It is *lost* of which somebody has found that
        there is no register any more.
        """
        if lost is not None and (item is None or Head.unpack(item.value) != lost):
            return False  # somebody else has begun one meanwhile
        seed = round(self._now(connection) * 1e6)
        generation = secrets.token_hex(4)
        if kept is None:
            trusted_from = None if self._grace else 0.0
            head = Head(generation, secrets.token_hex(4), trusted_from, connection.identity)
        else:
            head = kept._replace(generation=generation)
        commands: list[Command] = [Add(self._sequence(head), b"%d" % seed)]
        if kept is None:
            commands.append(Add(self._keys.register(head), b""))
        commands.append(self._placing(head, item))
        return bool(connection.exchange(commands)[-1])

    def _is_trusted(self, connection: Connection, head: Head, item: Item) -> bool:
        """Whether no mark can have been lost of which somebody still relies on."""
        if head.trusted_from == 0:
            return True
        now, trusted_from = self._now(connection), head.trusted_from
        latest = now + self._grace + self._slack
        if trusted_from is None or trusted_from > latest + 60:
            # Counted from here, as everybody can see by now that it has begun.
            self._change(connection, head, item, latest)
            return False
        return now >= trusted_from and self._change(connection, head, item, 0.0)

    def _change(
        self, connection: Connection, head: Head, item: Item | None, trusted_from: float
    ) -> bool:
        put = self._placing(head._replace(trusted_from=trusted_from), item)
        return bool(connection.exchange([put])[0])

    def _placing(self, head: Head, item: Item | None) -> Command:
        key, value = self._keys.head, head.pack()
        return Add(key, value) if item is None else Cas(key, value, item.unique)

    # -- odds and ends --------------------------------------------------------------------

    def _now(self, connection: Connection) -> float:
        (stats,) = connection.exchange([Stats()])
        return self._clock(stats)

    def _sequence(self, head: Head) -> bytes:
        return self._keys.sequence(head)

    def _tag_keys(self, tags: Iterable[str]) -> tuple[bytes, ...]:
        return tuple([self._keys.tag(tag) for tag in tags])


class _Fetched(NamedTuple):
    """What :meth:`Tags._fetch` has found. *position* is that of the last of the tags."""

    head: Head
    head_item: Item
    items: Mapping[bytes, Item]
    position: int
    register: Item

    def item(self, keys: Keys, tag: str) -> Item | None:
        return self.items.get(keys.tag(tag))


def _tries() -> Iterator[int]:
    yield from range(_TRIES)
    raise StoreUnavailable("memcached's items are changed by others all the time")


def _token(item: Item | None, head: Head) -> Token | None:
    return None if item is None else unpack_token(item.value, head)


def _marks(item: Item | None) -> Marks:
    return {} if item is None else unpack_marks(item.value)


def _number(item: Item | None) -> int | None:
    return int(item.value) if item is not None and item.value.isdigit() else None


def _is_late(begun: float) -> bool:
    return _Clock.monotonic() - begun > _LONGEST_PAUSE
