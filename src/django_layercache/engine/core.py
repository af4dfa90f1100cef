"""The engine in sync code: get-or-build, on one store.

The decisions are in :mod:`django_layercache.engine.attempts`; here is the I/O around them, and in
:mod:`django_layercache.engine.coroutines` once more for async code.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django_layercache.engine.attempts import MISS, Attempt
from django_layercache.engine.flights import Flights
from django_layercache.engine.graces import Graces, OpenTransactions
from django_layercache.engine.isolation import Isolation, objection
from django_layercache.engine.late import Late, all_late, narrowed
from django_layercache.engine.looks import Outbox
from django_layercache.engine.outages import Outages
from django_layercache.engine.payloads import Payloads
from django_layercache.engine.peeks import Peek
from django_layercache.engine.recipes import Recipe
from django_layercache.engine.scopes import Scope, nothing_cached, open_scope, recording_scope
from django_layercache.engine.writes import Write
from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import Entry, Reading, Store, Token, TokenState

__all__ = ["Core", "asked"]

_BYPASSED = "inside no_cache()"
_DISABLED = "ENABLED is False, or an override of CACHES has taken the store away"
_AWAY = "the store is away"


class Core:
    """All layers of a project share one.

    *isolation* tells, at each read, which transactions the reader is in. *lease* is how many
    seconds a mark lives, *jitter* the part by which timeouts vary at random, *max_entry_bytes*
    the size over which a value is not stored, *compress_from* the size from which on it is compressed
    for a store elsewhere. *tenant* says for whom the present code runs: what is built for one is not
    stored if something for another is read. *transactions* knows which transactions are open;
    with it, what *grace* means is told by :class:`~django_layercache.engine.graces.Graces`.
    """

    def __init__(
        self,
        store: Store,
        *,
        isolation: Callable[[], Isolation | None] = lambda: None,
        outbox: Outbox | None = None,
        transactions: OpenTransactions | None = None,
        grace: float = 1.0,
        lease: float = 30.0,
        jitter: float = 0.1,
        max_entry_bytes: int = 1024 * 1024,
        compress_from: int | None = None,
        enabled: bool = True,
        tenant: Callable[[], str] = lambda: "",
    ) -> None:
        self.store = store
        self.tenant = tenant
        self.outages = Outages(store, outbox)
        self.isolation = isolation
        self._graces = Graces(store, transactions, grace) if transactions is not None else None
        self.lease = lease
        self.enabled = enabled
        #: The store's, as of the last reading.
        self.generation = ""
        #: How often each ``(layer, outcome)`` happened in this process.
        self.counts: Counter[tuple[str, str]] = Counter()
        self._jitter = jitter
        # In this process there is nothing to carry, and room is cheaper than time.
        self._payloads = Payloads(max_entry_bytes, None if store.in_process else compress_from)
        self._random = random.Random()  # noqa: S311 - spreads timeouts, guards nothing
        self._flights = Flights()

    # -- get or build ---------------------------------------------------------------------

    def get_or_build(self, recipe: Recipe, build: Callable[[], Any]) -> Any:
        """The value of *recipe*: from the store if it is fresh, else from *build*, and stored."""
        attempt = self._attempt(recipe)
        if not self._may_use_store(attempt):
            return self._build(attempt, build)
        self.outages.look_around()
        value = self._look(attempt, recipe.key)
        if value is not MISS:
            return value
        if self._must_not_wait(attempt):
            return self._build(attempt, build)
        with self._flights.lead_or_join(recipe.key) as flight:
            if flight is not None:
                flight.wait()
                value = self._look(attempt, recipe.key)
                if value is not MISS:
                    return value
            return self._build(attempt, build)

    def refresh(self, recipe: Recipe, build: Callable[[], Any]) -> Any:
        """Build *recipe* whatever the store holds, and store it."""
        attempt = self._attempt(recipe)
        if self._may_use_store(attempt):
            self._look(attempt, None)
        return self._build(attempt, build)

    def get_many(self, requests: Sequence[tuple[Recipe, Callable[[], Any]]]) -> list[Any]:
        """Many at once: what the store has comes in one round trip, the rest is built one by one."""
        attempts, usable = self._attempts(requests)
        if usable:
            self.outages.look_around()
        try:
            readings = self.store.read_many(asked(usable)) if usable else []
        except StoreUnavailable:
            readings = self._all_failed(usable)
        values = self._judged(usable, readings)
        return [
            self._build(attempt, build) if (value := values[attempt]) is MISS else value
            for attempt, (_, build) in zip(attempts, requests, strict=True)
        ]

    def _attempts(
        self, requests: Sequence[tuple[Recipe, Callable[[], Any]]]
    ) -> tuple[list[Attempt], list[Attempt]]:
        """One for each of *requests*, and those of them that may use the store."""
        attempts = [self._attempt(recipe) for recipe, _ in requests]
        return attempts, [attempt for attempt in attempts if self._may_use_store(attempt)]

    def _all_failed(self, attempts: Iterable[Attempt]) -> list[Reading]:
        for attempt in attempts:
            self._store_failed(attempt)
        return []

    def _judged(
        self, attempts: Iterable[Attempt], readings: Iterable[Reading]
    ) -> defaultdict[Attempt, Any]:
        """The value of each attempt: ``MISS`` for those that got no reading."""
        values: defaultdict[Attempt, Any] = defaultdict(lambda: MISS)
        for attempt, reading in zip(attempts, readings, strict=False):
            values[attempt] = self._judge(attempt, reading)
        return values

    def peek(self, recipe: Recipe) -> Peek:
        """What :meth:`get_or_build` would do with *recipe* now."""
        peek = Peek(recipe, self.isolation(), self._payloads)
        if self._may_use_store(peek):
            try:
                peek.judge(self._read(recipe.key, recipe.tags))
            except StoreUnavailable:
                self._store_failed(peek)
        return peek

    def _look(self, attempt: Attempt, key: str | None) -> Any:
        try:
            reading = self._read(key, attempt.recipe.tags)
        except StoreUnavailable:
            self._store_failed(attempt)
            return MISS
        return self._judge(attempt, reading)

    def _build(self, attempt: Attempt, build: Callable[[], Any]) -> Any:
        try:
            with open_scope(attempt.scope):
                value = build()
        except BaseException:
            attempt.fail()
            raise
        entry = self._finish(attempt, value, self._narrowed(attempt, value))
        if entry is not None:
            self._write(entry, *attempt.recipe.placed(value))
        return value

    # -- what is read without being cached ------------------------------------------------

    def record(
        self,
        tags: Sequence[str],
        read: Callable[[], Any],
        settle: Callable[[Any], Iterable[str]] | None = None,
        late: Callable[[Any], Late] | None = None,
        behind: Callable[[Mapping[str, TokenState]], str | None] | None = None,
    ) -> Any:
        """Call *read*; the current scope depends on *tags*, or on those that *settle* picks of them.

        *settle* and *late* are those of a :class:`~django_layercache.engine.Recipe`. *behind* says
        why what is about to be read may be older than the states of the tags.
        """
        scope = recording_scope()
        if scope is None:
            return read()
        scope.keep_to(self.tenant())
        fetched, sequence = self._fetch(scope, tags)
        if behind is not None and fetched.objection is None:
            why = behind(fetched.states)
            fetched.observe({}, why)
        value = read()
        kept = tags if settle is None else list(settle(value))
        states: Mapping[str, TokenState] = {
            tag: fetched.states[tag] for tag in kept if tag in fetched.states
        }
        if late is not None and sequence is not None:
            states = self._with_late(states, late(value), sequence)
        scope.observe(states, fetched.objection or objection(self.isolation(), states))
        return value

    def observe(self, tags: Sequence[str]) -> None:
        """The current scope depends on *tags*. To be called before what they stand for is read."""
        self.record(tags, lambda: None)

    def _fetch(self, scope: Scope, tags: Sequence[str]) -> tuple[Scope, Token | None]:
        fetched, missing = self._known(scope, tags)
        if not missing:
            return fetched, None
        try:
            reading = self._read(None, missing)
        except StoreUnavailable:
            self._fetch_failed(fetched)
            return fetched, None
        fetched.observe(reading.states)
        return fetched, reading.sequence

    def _known(self, scope: Scope, tags: Sequence[str]) -> tuple[Scope, list[str]]:
        """What *scope* knows of *tags*, and those that are to be fetched."""
        fetched = Scope()
        fetched.observe({tag: scope.states[tag] for tag in tags if tag in scope.states})
        if self.outages.in_debt:
            fetched.forbid(self.outages.objection)
            return fetched, []
        return fetched, [tag for tag in tags if tag not in scope.states]

    def _fetch_failed(self, fetched: Scope) -> None:
        self.outages.owe()
        fetched.forbid(_AWAY)

    # -- hints ----------------------------------------------------------------------------

    def get_hint(self, key: str) -> bytes | None:
        """What :meth:`keep_hint` kept under *key*.

        A hint helps to find an entry. It depends on nothing, and may be wrong or gone at any
        time: what is found with its help is judged like everything else. Where the store was
        cleared, nothing is left that it could help to find.
        """
        if self.outages.in_debt:
            return None
        try:
            return self._hint_in(self._read(key, ()))
        except StoreUnavailable:
            self.outages.owe()
            return None

    def keep_hint(self, key: str, hint: bytes, timeout: float | None) -> None:
        """Keep *hint* for *timeout* seconds, for ever if ``None``."""
        if not self.outages.in_debt:
            self._write(self._hint(hint), key, timeout)

    def _hint(self, hint: bytes) -> Entry:
        return Entry({}, hint, self.generation)

    @staticmethod
    def _hint_in(reading: Reading) -> bytes | None:
        entry = reading.entry
        if entry is None or entry.generation != reading.sequence[:8]:
            return None
        return entry.payload

    # -- writing --------------------------------------------------------------------------

    def new_write(self) -> Write:
        """What one transaction changes; see :mod:`django_layercache.engine.writes`."""
        return Write(self.store, self.outages, self.lease)

    def distrust(self) -> None:
        """Make all that is stored unreachable: the store has missed writes."""
        try:
            self.store.reset()
        except StoreUnavailable:
            self.outages.owe_everything()

    def _read(self, key: str | None, tags: Sequence[str]) -> Reading:
        return self._noticed(self.store.read(key, tags))

    def _noticed(self, reading: Reading) -> Reading:
        self.generation = reading.sequence[:8]
        if reading.in_grace and self._graces is not None:
            self._graces.notice(reading)
        return reading

    # -- shared ---------------------------------------------------------------------------

    def _attempt(self, recipe: Recipe) -> Attempt:
        return Attempt(recipe, self.isolation(), self._payloads, self.tenant())

    def _may_use_store(self, attempt: Attempt) -> bool:
        if not self.enabled:
            attempt.forbid(_DISABLED)
        elif nothing_cached():
            attempt.forbid(_BYPASSED)
        elif self.outages.in_debt:
            attempt.forbid(self.outages.objection)
        else:
            return True
        return False

    @staticmethod
    def _must_not_wait(attempt: Attempt) -> bool:
        # Waiting is of use only where the one in front will store, and safe only for those
        # who hold nothing that he may need.
        isolation = attempt.isolation
        return attempt.outcome == "bypass" or (isolation is not None and isolation.has_written)

    def _judge(self, attempt: Attempt, reading: Reading) -> Any:
        value = attempt.judge(reading)
        if value is not MISS:
            self.counts[attempt.recipe.layer, "hit"] += 1
        elif attempt.reason.startswith("undecodable"):
            self.counts[attempt.recipe.layer, "undecodable"] += 1
        return value

    def _store_failed(self, attempt: Attempt) -> None:
        self.outages.owe()
        attempt.forbid(_AWAY)

    def _narrowed(self, attempt: Attempt, value: Any) -> Mapping[str, TokenState]:
        states = attempt.settle(value)
        if attempt.recipe.late is None or attempt.sequence is None:
            return states
        return self._with_late(states, attempt.recipe.late(value), attempt.sequence)

    def _with_late(
        self, states: Mapping[str, TokenState], late: Late, sequence: Token
    ) -> Mapping[str, TokenState]:
        tags = all_late(states, late)
        if not tags:
            return states
        try:
            return narrowed(states, late, self._read(None, tags).states, sequence)
        except StoreUnavailable:
            self.outages.owe()
            return states

    def _finish(
        self, attempt: Attempt, value: Any, states: Mapping[str, TokenState]
    ) -> Entry | None:
        self.counts[attempt.recipe.layer, attempt.outcome] += 1
        return attempt.finish(value, states)

    def _write(self, entry: Entry, key: str, timeout: float | None) -> None:
        try:
            self.store.write(key, entry, self._jittered(timeout))
        except StoreUnavailable:
            self.outages.owe()

    def _jittered(self, timeout: float | None) -> float | None:
        if timeout is None:
            return None
        return timeout * self._random.uniform(1 - self._jitter, 1 + self._jitter)


def asked(attempts: Iterable[Attempt]) -> list[tuple[str, Sequence[str]]]:
    """What *attempts* ask the store for."""
    return [(attempt.recipe.key, attempt.recipe.tags) for attempt in attempts]
