"""The protocol's atomic steps on a server that has no scripts: compare-and-swap, until nothing came between.

A step is a pipeline that fetches and one that swaps; a tag that was changed between the two is
fetched again. Four things make that as good as a script, whatever items vanish at whatever moment:

- A token is drawn *between* the fetching of a tag and its swap, so no other change of the tag
  can lie between the drawing and the publishing. A tag that there is not is first made, empty,
  and then fetched: only of an item that is there can one know that it stayed the same.
- A mark goes into the register first, then on its tag. Who publishes fetches the tag first, then
  the register. So either he finds the mark in the register, or the swap fails.
- Whoever places marks looks, at the end, whether the register is still the one that counts.
- If the register, the sequence or the head is gone, the server has lost data, and a new
  generation begins (``memcached_generations.py``).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from django_layercache.stores.base import PENDING, Token, TokenState
from django_layercache.stores.memcached_commands import (
    Add,
    Append,
    Cas,
    Command,
    Get,
    Incr,
    Item,
    Left,
    Refused,
    Stats,
    Steps,
)
from django_layercache.stores.memcached_generations import LONGEST_PAUSE, Generations, tries
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

__all__ = ["Seen", "Tags"]

_TTL = 7 * 24 * 3600
_EMPTY = pack_marks({})
#: Bytes of a register that is tidied up. An item holds a million.
_TIDY_ABOVE = 32 * 1024


class _Clock:
    # Held by a class, out of reach of tools that freeze time by replacing the functions of modules.
    monotonic = staticmethod(time.monotonic)


class Seen(NamedTuple):
    """What one look has found: items by their keys, those of tags by tag, and the rest of the state."""

    found: Mapping[bytes, Item]
    left: Mapping[bytes, float | None]
    tags: Mapping[str, Item | None]
    head: Head
    head_item: Item
    position: int


class Tags(Generations):
    """The tags of one namespace on one server."""

    # -- reading --------------------------------------------------------------------------

    def look(self, identity: str, tags: Iterable[str], before: Sequence[bytes] = ()) -> Steps[Seen]:
        """Fetch the items under the keys *before*, then *tags*, then the position of the sequence."""
        keys = {self._keys.tag(tag): tag for tag in tags}
        for _ in tries():
            guess = self._head
            last = [self._keys.head] if guess is None else [self._keys.head, self._sequence(guess)]
            found, items, top, *left = yield (
                [Get(tuple(before)), Get(tuple(keys)), Get(tuple(last)), *map(Left, before)]
            )
            head_item = top.get(self._keys.head)
            head = yield from self._understood(identity, head_item)
            if head is None or guess is None or head.generation != guess.generation:
                continue
            position = _number(top.get(self._sequence(head)))
            if position is None:
                yield from self._begin(identity, head_item, head)
                continue
            states = {tag: items.get(key) for key, tag in keys.items()}
            seconds = dict(zip(before, left, strict=True))
            return Seen(found, seconds, states, head, head_item, position)
        raise AssertionError

    def states(
        self, identity: str, seen: Seen, tags: Iterable[str]
    ) -> Steps[tuple[dict[str, TokenState], Token, bool]]:
        """The state of *tags*, which were *seen*; the position; whether there is a grace."""
        states = {tag: _token(seen.tags[tag], seen.head) for tag in tags}
        position = seen.head.position(seen.position)
        trusted = yield from self._is_trusted(seen.head, seen.head_item)
        unsettled = [tag for tag, state in states.items() if state is PENDING]
        if trusted and unsettled:
            mintable = yield from self._without_live_marks(seen, unsettled)
            if mintable:
                minted, position = yield from self._publish(identity, mintable)
                states |= minted
        return states, position, not trusted

    def _without_live_marks(self, seen: Seen, tags: Sequence[str]) -> Steps[list[str]]:
        marks = {tag: _marks(seen.tags[tag]) for tag in tags}
        now = (yield from self._now()) if any(marks.values()) else 0.0
        return [tag for tag in tags if not is_live(marks[tag], now)]

    # -- writing --------------------------------------------------------------------------

    def mark(self, identity: str, writer: str, tags: Sequence[str], lease: float) -> Steps[None]:
        """Place marks of *writer* on *tags*, for *lease* seconds at the least."""
        left, recorded = list(tags), ""
        for _ in tries():
            begun = _Clock.monotonic()
            items, top, stats = yield (
                [Get(self._tag_keys(left)), Get((self._keys.head,)), Stats()]
            )
            head = yield from self._understood(identity, top.get(self._keys.head))
            if head is None:
                continue
            now = self._clock(stats)
            expiry = now + lease + self._slack
            commands: list[Command] = []
            if recorded != head.register:
                line = Register.placed(writer, expiry, tags)
                commands.append(Append(self._keys.register(head), line))
            commands += [self._marking(items, tag, writer, expiry, now) for tag in left]
            *stored, top = yield [*commands, Get((self._keys.head,))]
            if recorded != head.register and not stored.pop(0):
                yield from self._refuse_if_full(head)
                yield from self._begin(identity, top.get(self._keys.head), None, lost=head)
                continue
            after = yield from self._understood(identity, top.get(self._keys.head))
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

    def release(self, identity: str, writer: str, tags: Sequence[str]) -> Steps[None]:
        """Take the marks of *writer* away, and publish new tokens where there are no others."""
        yield from self._publish(identity, tags, writer)

    # -- publishing: a mint, and the second half of a release ---------------------------------

    def _publish(
        self, identity: str, tags: Sequence[str], writer: str | None = None
    ) -> Steps[tuple[dict[str, TokenState], Token]]:
        """Give each of *tags* a new token, unless somebody else has a mark on it.

        Without a *writer*, one that has a token keeps it. Returns their states, and the position.
        """
        states: dict[str, TokenState] = {}
        left, told = list(tags), ""
        for _ in tries():
            fetched = yield from self._fetch(identity, left, writer if told == "" else None, tags)
            if fetched is None:
                continue
            told = fetched.head.register
            choices = yield from self._choose(fetched, left, writer)
            stored = yield from self._swap(fetched, choices)
            states |= {tag: state for tag, (_, state) in choices.items() if tag in stored}
            left = [tag for tag in left if tag not in stored]
            if not left:
                return states, fetched.head.position(fetched.position)
        raise AssertionError

    def _fetch(
        self, identity: str, left: Sequence[str], teller: str | None, tags: Sequence[str]
    ) -> Steps["_Fetched | None"]:
        """Everything that decides what becomes of the tags *left*; ``None`` if it has to be fetched again."""
        head = self._head or (yield from self.look(identity, ())).head
        keys, register = self._tag_keys(left), self._keys.register(head)
        commands: list[Command] = [Add(key, _EMPTY, _TTL) for key in keys]
        if teller is not None:
            # It has committed: whatever is published from now on is from after that.
            commands.append(Append(register, Register.taken(teller, tags)))
        commands += [Get(keys), Incr(self._sequence(head), len(left))]
        *_, items, last, registers, top = yield (
            [*commands, Get((register,)), Get((self._keys.head,))]
        )
        head_item = top.get(self._keys.head)
        now = yield from self._understood(identity, head_item)
        if now is None or now[:2] != head[:2]:
            return None
        if register not in registers:
            yield from self._begin(identity, head_item, None, lost=now)
            return None
        if last is None:
            yield from self._begin(identity, head_item, now)
            return None
        return _Fetched(now, head_item, items, last, registers[register])

    def _choose(
        self, fetched: "_Fetched", left: Sequence[str], writer: str | None
    ) -> Steps[dict[str, tuple[bytes, TokenState]]]:
        """What each tag that is there is to be, as bytes and as a state."""
        trusted = yield from self._is_trusted(fetched.head, fetched.head_item)
        register = Register(fetched.register.value)
        marks = {tag: register.marks(tag) | _marks(fetched.item(self._keys, tag)) for tag in left}
        now = (yield from self._now()) if any(marks.values()) else 0.0
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
        fetched: "_Fetched",
        choices: Mapping[str, tuple[bytes, TokenState]],
    ) -> Steps[set[str]]:
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
            tidied = Register(fetched.register.value).tidied((yield from self._now()))
            register = self._keys.register(fetched.head)
            commands.append(Cas(register, tidied, fetched.register.unique))
        replies = (yield commands) if commands else []
        return true | {tag for tag, stored in zip(swaps, replies, strict=False) if stored}

    def _refuse_if_full(self, head: Head) -> Steps[None]:
        """A register that does not take a line more is not lost: make room in it for the next one."""
        key = self._keys.register(head)
        (items,) = yield [Get((key,))]
        if item := items.get(key):
            tidied = Register(item.value).tidied((yield from self._now()))
            yield [Cas(key, tidied, item.unique)]
            raise Refused("the register of marks is full")

    # -- odds and ends --------------------------------------------------------------------

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


def _token(item: Item | None, head: Head) -> Token | None:
    return None if item is None else unpack_token(item.value, head)


def _marks(item: Item | None) -> Marks:
    return {} if item is None else unpack_marks(item.value)


def _number(item: Item | None) -> int | None:
    return int(item.value) if item is not None and item.value.isdigit() else None


def _is_late(begun: float) -> bool:
    return _Clock.monotonic() - begun > LONGEST_PAUSE
