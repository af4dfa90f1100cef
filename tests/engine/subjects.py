"""The stores that are explored: the real ones, with their content taken out and put back, and their clock in hand."""

from collections.abc import Container, Iterator
from typing import Any, NamedTuple, Protocol

import redis

from django_layercache.stores import entries
from django_layercache.stores.base import Entry, Store
from django_layercache.stores.local import LocalStore
from django_layercache.stores.redis import RedisStore

LEASE = 30.0
GRACE = 1.0

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

    def happenings(self, content: Content, kinds: Container[str]) -> Iterator[Happening]:
        """What may happen to a store that holds *content*, of the *kinds* that there is a budget for."""
        ...


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
        store._entries.clear()
        for key, tokens, payload in entries:
            store._entries.put(key, Entry(dict(tokens), payload), None)
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
                    (key, tuple(slot.entry.tokens.items()), slot.entry.payload)
                    for key, slot in store._entries.slots.items()
                )
            ),
            *(tuple(sorted(getattr(store, name).items())) for name in self.more),
        )

    def happenings(self, content: Content, kinds: Container[str]) -> Iterator[Happening]:
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
        if "reset" in kinds:
            self.load(content, 0)
            self.store.reset()
            yield Happening("reset", "the store is reset", self.save())


class Held(NamedTuple):
    """What a Redis server holds. Times are microseconds that are left; ``dump`` is what it once wrote to disk.

    ``generation`` is one of its tokens, or empty if there is no register.
    """

    generation: str
    distrust: int
    identity: int
    marks: tuple[tuple[str, str, int], ...]
    tokens: tuple[tuple[str, str], ...]
    entries: tuple[tuple[str, tuple[tuple[str, str], ...], bytes], ...]
    dump: tuple[Any, ...] = ()


class RedisSubject:
    """The `redis` store on a real server, in a namespace of its own."""

    renames = True
    now = 1_000_000_000

    def __init__(
        self,
        pool: redis.ConnectionPool,
        tags: str = "a b",
        keys: str = "a b a+b page",
        *,
        grace: float = GRACE,
        store_class: type[RedisStore] = RedisStore,
    ) -> None:
        self.tags, self.keys = tags.split(), keys.split()
        self.store = store_class(
            pool, namespace="explored", grace=grace, now=f"local now = {self.now}"
        )
        self.client = self.store.client
        self._prefix = self.store._prefix
        self._load = self.client.register_script(_LOAD)
        self._names = [
            self.store._register,
            *(f"{self._prefix}t:{tag}" for tag in self.tags),
            *(f"{self._prefix}e:{key}" for key in self.keys),
        ]
        self._dump: tuple[Any, ...] = ()
        self._after_restart: dict[Any, Content] = {}
        self.store.read(None, ())  # it connects now, and identifies the server
        self.load(Held("0" * 24, 0, 0, (), (), ()), 0)

    def load(self, content: Content, top: int) -> None:
        held = Held(*content)
        marks: dict[str, list[str]] = {}
        for tag, writer, left in held.marks:
            marks.setdefault(f"m:{tag}", []).append(f"{writer} {self.now + left}")
        fields: list[Any] = []
        if held.generation:
            fields = ["generation", held.generation[:8], "sequence", top]
            fields += ["distrust", self.now + held.distrust, "identity", held.identity]
            fields += [part for name, items in marks.items() for part in (name, " ".join(items))]
        values = [part for tag, token in held.tokens for part in (f"{self._prefix}t:{tag}", token)]
        for key, tokens, payload in held.entries:
            values += [f"{self._prefix}e:{key}", entries.pack(key, Entry(dict(tokens), payload))]
        self._dump = held.dump
        self._load(keys=self._names, args=[len(fields), *fields, *values])

    def save(self) -> Content:
        pipeline = self.client.pipeline(transaction=False)
        pipeline.hgetall(self._names[0])
        pipeline.mget(self._names[1:])
        raw, values = pipeline.execute()
        register = {name.decode(): value.decode() for name, value in raw.items()}
        tokens, stored = values[: len(self.tags)], values[len(self.tags) :]
        unpacked = (
            (key, entries.unpack(key, data))
            for key, data in zip(self.keys, stored, strict=True)
            if data is not None
        )
        return tuple(
            Held(
                generation=register["generation"] + "0" * 16 if register else "",
                distrust=max(0, int(register.get("distrust", 0)) - self.now),
                identity=int(register.get("identity", 0)),
                marks=tuple(self._marks(register)),
                tokens=tuple(
                    (tag, token.decode())
                    for tag, token in zip(self.tags, tokens, strict=True)
                    if token is not None
                ),
                entries=tuple(
                    (key, tuple(entry.tokens.items()), entry.payload) for key, entry in unpacked
                ),
                dump=self._dump,
            )
        )

    def _marks(self, register: dict[str, str]) -> Iterator[tuple[str, str, int]]:
        for tag in self.tags:
            parts = register.get(f"m:{tag}", "").split()
            for writer, expiry in sorted(zip(parts[::2], parts[1::2], strict=True)):
                yield tag, writer, max(0, int(expiry) - self.now)

    def happenings(self, content: Content, kinds: Container[str]) -> Iterator[Happening]:
        held = Held(*content)
        for tag, _ in held.tokens:
            tokens = tuple(item for item in held.tokens if item[0] != tag)
            yield _held(held, "lose", f"the token of {tag} vanishes", tokens=tokens)
        for key, _, _ in held.entries:
            left = tuple(item for item in held.entries if item[0] != key)
            yield _held(held, "lose", f"the entry {key!r} vanishes", entries=left)
        if held.generation:
            gone = held._replace(generation="", distrust=0, marks=())
            yield Happening("lose", "the register vanishes", tuple(gone), "loses marks")
        if any(left for _, _, left in held.marks):
            spent = tuple((tag, writer, 0) for tag, writer, _ in held.marks)
            yield _held(held, "expire", "every lease runs out", "lease", marks=spent, distrust=0)
        if held.distrust:
            yield _held(held, "grace", "the grace passes", "grace", distrust=0)
        if "restart" in kinds and not held.dump:
            yield _held(held, "restart", "the server writes a dump", dump=content)
        elif "restart" in kinds:
            yield Happening("restart", "it restarts from it", self._restarted(held), "loses marks")

    def _restarted(self, held: Held) -> Content:
        # Its content is that of the dump; whoever connects to it tells that it is another server.
        if (held.dump, held.identity) not in self._after_restart:
            self.load(held.dump, 10**6)
            self.client.eval(
                self.store._sources["identify"],
                1,
                self.store._register,
                *self.store._arguments(held.identity + 1),
            )
            self._after_restart[held.dump, held.identity] = self.save()
        return self._after_restart[held.dump, held.identity]


def _held(held: Held, kind: str, label: str, consequence: str = "", **changes: Any) -> Happening:
    return Happening(kind, label, tuple(held._replace(**changes)), consequence)


# KEYS: all that a mix may use, the register first. ARGV: how many names and values of fields of the register there
# are, those, then names and values of keys.
_LOAD = """
redis.call('DEL', unpack(KEYS))
local fields = tonumber(ARGV[1])
if fields > 0 then redis.call('HSET', KEYS[1], unpack(ARGV, 2, 1 + fields)) end
for i = 2 + fields, #ARGV, 2 do redis.call('SET', ARGV[i], ARGV[i + 1]) end
"""
