"""A memcached in a tuple, for exploring: whatever the `memcached` store sends is a step of its own.

``tests/stores/test_memcached_wire.py`` compares it with the real one, command by command.
"""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import greenlet

from django_layercache.stores import memcached_generations, memcached_tags
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.memcached_commands import (
    Add,
    Append,
    Cas,
    Command,
    Delete,
    Get,
    Incr,
    Item,
    Left,
    Set,
    Stats,
)
from django_layercache.stores.memcached_items import Head
from django_layercache.stores.memcached_wire import Operation
from django_layercache.stores.steps import carried_out as steps_carried_out
from tests.engine.places import Mutations, Place, _ask
from tests.engine.subjects import GRACE, LEASE, Content, Happening

IDENTITY = "1.0"
START = 1_000_000.0


class Held(NamedTuple):
    """What there is: by key the value, or ``None`` if it has vanished, and how often it was changed; the time."""

    items: tuple[tuple[bytes, bytes | None, int], ...] = ()
    now: float = START


def carried_out(held: Held, command: Command) -> tuple[Any, Held]:
    """The reply to *command*, and what there is then."""
    items = {key: (value, number) for key, value, number in held.items}

    def value_of(key: bytes) -> bytes | None:
        return items.get(key, (None, 0))[0]

    def put(key: bytes, value: bytes | None) -> bool:
        items[key] = (value, items.get(key, (None, 0))[1] + 1)
        return True

    match command:
        case Get(keys):
            there = [key for key in keys if value_of(key) is not None]
            reply = {key: Item(value_of(key), b"%d" % items[key][1]) for key in there}
        case Set(key, value):
            reply = put(key, value)
        case Add(key, value):
            reply = value_of(key) is None and put(key, value)
        case Cas(key, value, unique):
            fits = value_of(key) is not None and b"%d" % items[key][1] == unique
            reply = fits and put(key, value)
        case Append(key, value):
            before = value_of(key)
            reply = before is not None and put(key, before + value)
        case Incr(key, by):
            before = value_of(key)
            reply = None if before is None else int(before) + by
            if reply is not None:
                put(key, b"%d" % reply)
        case Delete(key):
            reply = value_of(key) is not None and put(key, None)
        case Left(key):
            reply = None if value_of(key) is not None else 0.0
        case Stats():
            reply = {b"time": b"%d" % held.now}
    rest = tuple(sorted((key, value, number) for key, (value, number) in items.items()))
    return reply, held._replace(items=rest)


class AskingServer:
    """A server to which each pipeline is a request, or, if they are *parted*, each command."""

    address = "model"

    def __init__(self, parted: bool) -> None:
        self._parted = parted

    def run(self, operation: Operation[Any]) -> Any:
        return steps_carried_out(operation(IDENTITY), self.exchange)

    def close(self) -> None: ...

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        if not self._parted:
            return self._ask(tuple(commands))
        return [reply for command in commands for reply in self._ask((command,))]

    def _ask(self, commands: tuple[Command, ...]) -> list[Any]:
        replies, greenlet.getcurrent().now = _ask("store", "pipeline", commands)
        return [dict(reply) if isinstance(reply, tuple) else reply for reply in replies]


def asking_store(parted: bool = False) -> MemcachedStore:
    """The `memcached` store, on a server that asks first."""
    return MemcachedStore([AskingServer(parted)], grace=GRACE, slack=0.0)


class OnMemcached(Mutations):
    """The real code of the engine and of the `memcached` store."""

    def begin_snapshot(self, place: Place) -> Any:
        return place.engine.store.read(None, ()).sequence, place.snapshot()

    @contextmanager
    def applied(self) -> Any:
        clock = SimpleNamespace(monotonic=lambda: getattr(greenlet.getcurrent(), "now", START))
        with (
            super().applied(),
            mock.patch.object(memcached_tags, "_Clock", clock),
            mock.patch.object(memcached_generations, "secrets", _Names),
        ):
            yield


class _Names:
    """Eight characters that nobody else draws."""

    @staticmethod
    def token_hex(size: int) -> str:
        place = greenlet.getcurrent().place
        place.ids += 1
        return f"{place.name[:2]:_<2}{place.segment:03d}{place.ids:03d}".replace("_", "x")


class MemcachedSubject:
    """The model under exploration. Any of its items may vanish: "lose t", "lose r", "lose q", "lose head", "flush"."""

    renames = False

    def __init__(self) -> None:
        keys, head = asking_store()._keys, Head("begun000", "marks000", 0.0, IDENTITY)
        self._head = keys.head
        there = {keys.head: head.pack(), keys.sequence(head): b"1", keys.register(head): b""}
        self.held = Held(tuple(sorted((key, value, 1) for key, value in there.items())))
        self.store = self

    def load(self, content: Content, top: int) -> None:
        self.held = Held(*content)

    def save(self) -> Content:
        return tuple(self.held)

    def pipeline(self, commands: Sequence[Command]) -> tuple[tuple[Any, ...], float]:
        replies = []
        for command in commands:
            reply, self.held = carried_out(self.held, command)
            replies.append(tuple(reply.items()) if isinstance(reply, dict) else reply)
        return tuple(replies), self.held.now

    def happenings(self, content: Content, kinds: Container[str]) -> Iterator[Happening]:
        held = Held(*content)
        for key, value, number in held.items:
            name = key.decode().rpartition("}:")[2]
            kind = f"lose {name.partition(':')[0]}"
            if value is None or kind not in kinds:
                continue
            items = tuple(item for item in held.items if item[0] != key)
            gone = held._replace(items=tuple(sorted((*items, (key, None, number)))))
            yield Happening(kind, f"{name} vanishes", tuple(gone))
        if "flush" in kinds:
            items = tuple((key, None, number) for key, _, number in held.items)
            yield Happening("flush", "everything vanishes", tuple(held._replace(items=items)))
        head = next((value for key, value, _ in held.items if key == self._head and value), None)
        trusted_from = Head.unpack(head).trusted_from if head else None
        if trusted_from is not None and trusted_from > held.now:
            later = held._replace(now=held.now + GRACE + 1)
            yield Happening("grace", "the grace passes", tuple(later), "time")
        if "expire" in kinds:
            later = held._replace(now=held.now + LEASE + 2)
            yield Happening("expire", "every lease runs out", tuple(later), "time")
