"""The `bounded` store: any cache of Django's. It does what can be done with sets and gets.

What it cannot do is change an item only if nobody else has. Two writers who mark or release the
same tag at the same instant may overwrite each other's marks, and a cache may drop a mark. A
tag whose mark was lost answers from before the commit until its writer's release: in between is the
rest of a COMMIT, as a rule milliseconds. The release gives a new token in any case.

Tokens are drawn by chance and have no order, so nothing is used or stored in a transaction that has
a snapshot. Leases are the cache's own timeouts, so no clocks are compared.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Protocol, TypeGuard, TypeVar

from django_layercache.exceptions import StoreUnavailable, Undecodable
from django_layercache.serializers.reports import report_undecodable
from django_layercache.stores import entries
from django_layercache.stores.base import PENDING, Entry, Reading, Token, TokenState
from django_layercache.stores.breaker import Breaker

__all__ = ["BoundedStore"]

_TTL = 7 * 24 * 3600

T = TypeVar("T")


class Cache(Protocol):
    """What is needed of one of Django's caches."""

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]: ...
    def set_many(self, data: dict[str, Any], timeout: float | None) -> list[str]: ...
    def add(self, key: str, value: Any, timeout: float | None) -> bool: ...
    def set(self, key: str, value: Any, timeout: float | None) -> None: ...
    def delete(self, key: str) -> bool: ...


class BoundedStore:
    """Tokens, marks and entries in a cache of Django's.

    *cache* returns it, the one of the calling thread. *lease* is what marks get anew that are left
    behind by a release, in seconds.
    """

    exact = False
    in_process = False

    def __init__(
        self,
        cache: Callable[[], Cache],
        *,
        namespace: str = "",
        lease: float = 30.0,
    ) -> None:
        self._cache = cache
        self._lease = lease
        self._prefix = f"layercache:1:{_digest(namespace)}:"
        self._breaker = Breaker()

    # -- the contract ---------------------------------------------------------------------

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        return self.read_many([(key, tags)])[0]

    def read_many(self, requests: Sequence[tuple[str | None, Sequence[str]]]) -> list[Reading]:
        return self._ask(lambda cache: self._readings(cache, requests)) if requests else []

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        data = entries.pack(key, entry)
        self._ask(lambda cache: cache.set(self._entry(key), data, timeout))

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        names = [self._tag(tag) for tag in dict.fromkeys(tags)]

        def mark(cache: Cache) -> list[str]:
            held = cache.get_many(names)
            marks = {name: _pending({*_marks(held.get(name)), writer}) for name in names}
            return cache.set_many(marks, lease)

        if names and self._ask(mark):
            raise StoreUnavailable("the cache does not take the marks")

    def release(self, writer: str, tags: Iterable[str]) -> None:
        names = [self._tag(tag) for tag in dict.fromkeys(tags)]

        def release(cache: Cache) -> list[str]:
            held = cache.get_many(names)
            left = {name: _marks(held.get(name)) - {writer} for name in names}
            # How long their leases still last nobody knows.
            pending = {name: _pending(marks) for name, marks in left.items() if marks}
            tokens = self._tokens(cache, [name for name in names if not left[name]])
            return [
                *(cache.set_many(pending, self._lease) if pending else ()),
                *(cache.set_many(tokens, _TTL) if tokens else ()),
            ]

        if names and self._ask(release):
            raise StoreUnavailable("the cache does not take the tokens")

    def delete(self, key: str) -> None:
        self._ask(lambda cache: cache.delete(self._entry(key)))

    def reset(self) -> None:
        self._ask(lambda cache: cache.set(self._head, _generation(), None))

    def end_grace(self, sequence: Token) -> None:
        pass  # it does not know what it has lost

    def close(self) -> None:
        pass  # the cache is the project's

    # -- reading --------------------------------------------------------------------------

    def _readings(
        self, cache: Cache, requests: Sequence[tuple[str | None, Sequence[str]]]
    ) -> list[Reading]:
        # Entries first, then tags: what is stored later than the tags were fetched may be newer.
        keys = dict.fromkeys(key for key, _ in requests if key is not None)
        held = cache.get_many([self._entry(key) for key in keys]) if keys else {}
        found = {key: _unpacked(key, held.get(self._entry(key))) for key in keys}
        wanted = {tag for _, tags in requests for tag in tags}
        wanted.update(*(entry.tokens for entry, _ in found.values() if entry is not None))
        generation, states = self._states(cache, wanted)
        readings = []
        for key, tags in requests:
            entry, damage = found[key] if key is not None else (None, "")
            names = dict.fromkeys([*tags, *(entry.tokens if entry is not None else ())])
            own = {tag: states[tag] for tag in names}
            readings.append(Reading(entry, own, generation + "0" * 16, damage=damage))
        return readings

    def _states(self, cache: Cache, tags: Iterable[str]) -> tuple[str, dict[str, TokenState]]:
        names = {tag: self._tag(tag) for tag in tags}
        held = cache.get_many([self._head, *names.values()])
        found = held.get(self._head)
        generation = found if _is_generation(found) else self._begin(cache)
        states: dict[str, TokenState] = {}
        for tag, name in names.items():
            value = held.get(name)
            if _is_token(value, generation):
                states[tag] = value
            else:
                states[tag] = PENDING if _marks(value) else self._mint(cache, name, generation)
        return generation, states

    def _mint(self, cache: Cache, name: str, generation: str) -> TokenState:
        token = _token(generation)
        if cache.add(name, token, _TTL):
            return token
        value = cache.get_many([name]).get(name)
        if _marks(value):
            return PENDING
        if _is_token(value, generation):
            return str(value)
        cache.set(name, token, _TTL)  # one of an older generation, or nothing of ours
        return token

    def _begin(self, cache: Cache) -> str:
        cache.add(self._head, _generation(), None)
        generation = cache.get_many([self._head]).get(self._head)
        if not _is_generation(generation):
            generation = _generation()
            cache.set(self._head, generation, None)
        return generation

    def _tokens(self, cache: Cache, names: Iterable[str]) -> dict[str, Token]:
        generation, _ = self._states(cache, ())
        return {name: _token(generation) for name in names}

    # -- the cache ------------------------------------------------------------------------

    def _ask(self, question: Callable[[Cache], T]) -> T:
        self._breaker.check()
        try:
            answer = question(self._cache())
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever a cache backend may raise
            self._breaker.failed(error)
            raise StoreUnavailable(f"the cache does not answer: {error}") from error
        self._breaker.succeeded()
        return answer

    @property
    def _head(self) -> str:
        return f"{self._prefix}head"

    def _tag(self, tag: str) -> str:
        return f"{self._prefix}t:{_digest(tag)}"

    def _entry(self, key: str) -> str:
        return f"{self._prefix}e:{_digest(key)}"


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _generation() -> str:
    return secrets.token_hex(4)


def _is_generation(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) == 8


def _token(generation: str) -> Token:
    return f"{generation}{secrets.randbelow(10**16):016d}"


def _is_token(value: Any, generation: str) -> bool:
    return isinstance(value, str) and len(value) == 24 and value.startswith(generation)


def _pending(writers: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(writers))


def _marks(value: Any) -> set[str]:
    """The writers in *value*; none if it is no pending tag."""
    return {str(writer) for writer in value} if isinstance(value, tuple) else set()


def _unpacked(key: str, data: Any) -> tuple[Entry | None, str]:
    if data is None:
        return None, ""
    try:
        return entries.unpack(key, data if isinstance(data, bytes) else b""), ""
    except Undecodable as error:
        report_undecodable("entry", str(error))
        return None, str(error)
