"""One get-or-build in progress: every decision of the read protocol, and no I/O.

:class:`~django_layercache.engine.coroutines.Engine` drives it, once for sync and once for async
code. The numbers are those of the protocol's read rules:

1. entry and tags are fetched together, before the source of truth is read;
2. a pending tag: neither use the entry nor store;
3. a missing token is minted (the store's ``read`` does it, and never reports one missing);
4. equal tokens: a hit;
5. otherwise build, and store under the tokens of step 1.
"""

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

from django_layercache.engine.events import Event, Outcome, record, tracing
from django_layercache.engine.isolation import Isolation, objection, pending_tags
from django_layercache.engine.payloads import Payloads
from django_layercache.engine.recipes import Recipe
from django_layercache.engine.scopes import Scope, current_scope
from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.stores.base import Entry, Reading, Slot, Token, TokenState
from django_layercache.tags import readable

__all__ = ["IN_GRACE", "MISS", "Attempt"]

#: Why tags are pending that nobody is about to change.
IN_GRACE: Final = "the store is new, or may have lost marks a moment ago"
_CLEARED = "the store was cleared, or has lost what it held"


class _Miss:
    def __repr__(self) -> str:
        return "MISS"


#: No value. ``None`` is one.
MISS: Final = _Miss()


class Attempt:
    """See the module. ``scope`` records what is read while building."""

    __slots__ = (
        "_is_kept",
        "_parent",
        "_payloads",
        "_started",
        "isolation",
        "outcome",
        "reason",
        "recipe",
        "scope",
        "sequence",
    )

    def __init__(
        self, recipe: Recipe, isolation: Isolation | None, payloads: Payloads, tenant: str = ""
    ) -> None:
        self.recipe = recipe
        self._payloads = payloads
        self.isolation = isolation
        self.outcome: Outcome = "miss"
        self.reason = ""
        self.scope = Scope(tenant)
        #: S0, of the reading that the value is built on.
        self.sequence: Token | None = None
        #: What is stored is fresh, and stays, although it may not be used here.
        self._is_kept = False
        self._parent = current_scope()
        if self._parent is not None:
            self._parent.keep_to(tenant)
        self._started = perf_counter()

    # -- reading --------------------------------------------------------------------------

    def judge(self, reading: Reading) -> Any:
        """The value if *reading* is a hit, else ``MISS``, ready to build."""
        value = MISS
        if reading.entry is not None:
            value = self._use(reading.entry, reading)
        elif reading.damage:
            self.reason = f"undecodable: {reading.damage}"
        if value is MISS:
            if reading.in_grace:
                self.reason = f"{self.reason}; {IN_GRACE}".removeprefix("; ")
            self.sequence = reading.sequence
            self._begin(reading.states)
        return value

    def _use(self, entry: Entry, reading: Reading) -> Any:
        states = reading.states
        changed = [tag for tag, token in entry.tokens.items() if states[tag] != token]  # rule 4
        if changed:
            self._note_change(changed, entry, reading)
            return MISS
        if not entry.tokens and entry.generation != reading.sequence[:8]:
            self.reason = _CLEARED
            return MISS
        why = self._why_not_used(entry)
        if why is not None:
            self.bypass(why)
            return MISS
        try:
            value = self._decoded(entry, reading.slot)
        except Undecodable as error:
            self.reason = f"undecodable: {error}"
            return MISS
        self.outcome = "hit"
        if self._parent is not None:
            self._parent.observe(entry.tokens)
        self._report(entry.tokens)
        return value

    def _why_not_used(self, entry: Entry) -> str | None:
        """Why the reader's own transaction does not allow a hit."""
        if self.isolation is None:
            return None
        why = self.isolation.objection(entry.tokens)
        if why is None:
            why = self.isolation.must_read(entry.tokens)
            self._is_kept = why is not None
        return why

    def _decoded(self, entry: Entry, slot: Slot | None) -> Any:
        recipe = self.recipe
        if slot is not None and slot.is_decoded:
            value = slot.value
        else:
            value = self._payloads.decode(recipe.codec, entry.payload)
            if slot is not None and recipe.size_of is not None and not slot.is_refused:
                slot.keep(value, recipe.size_of(value))
        return value if recipe.hand_out is None else recipe.hand_out(value)

    def _note_change(self, changed: list[str], entry: Entry, reading: Reading) -> None:
        pending = pending_tags({tag: reading.states[tag] for tag in changed})  # rule 2
        if pending:
            self.bypass(f"pending: {', '.join(readable(pending))}")
        elif entry.generation not in {"", reading.sequence[:8]}:
            self.reason = _CLEARED
        else:
            self.reason = f"changed: {', '.join(readable(changed))}"

    def _begin(self, states: Mapping[str, TokenState]) -> None:
        # Anew at each reading: one who waited for another's flight builds, if at all, under
        # the tokens that were fetched after the wait.
        self.scope = Scope(self.scope.tenant)
        known = {tag: states[tag] for tag in self.recipe.tags}
        why = None if self.recipe.settle else objection(self.isolation, known)
        self.scope.observe(known, why)

    def bypass(self, reason: str) -> None:
        """The store is not to be used for this one."""
        self.outcome, self.reason = "bypass", reason

    def forbid(self, reason: str) -> None:
        """Neither this value nor what encloses it may be stored: its tags are not known."""
        self.bypass(reason)
        self.scope.forbid(reason)

    # -- building -------------------------------------------------------------------------

    def settle(self, value: Any) -> dict[str, TokenState]:
        """What *value* depends on, each tag with the state that was fetched before it was read."""
        settle, states = self.recipe.settle, self.scope.states
        return {tag: states[tag] for tag in settle(value)} if settle and states else dict(states)

    def finish(self, value: Any, states: Mapping[str, TokenState]) -> Entry | None:
        """Bubble up that *value* depends on *states*, and say what to store (rule 5), if anything."""
        why = self.scope.objection or objection(self.isolation, states)
        if self._parent is not None:
            self._parent.observe(states, why)
        entry = self._encode(value, states) if why is None and not self._is_kept else None
        if why is not None:
            self._not_stored(why)
        self._report(states)
        return entry

    def fail(self) -> None:
        """The builder raised. What encloses it may catch that, and depends on what was read all the same."""
        if self._parent is not None:
            self._parent.observe(self.scope.states, self.scope.objection)
        self.reason = self.reason or "the builder raised"
        self._report(self.scope.states)

    def _encode(self, value: Any, states: Mapping[str, TokenState]) -> Entry | None:
        if self.recipe.timeout == 0:
            self._not_stored("its timeout is 0")
            return None
        try:
            payload = self._payloads.encode(self.recipe.codec, value)
        except Unstorable as error:
            self._not_stored(str(error))
            return None
        tokens = {tag: token for tag, token in states.items() if token is not None}
        return Entry(tokens, payload, (self.sequence or "")[:8])

    def _not_stored(self, why: str) -> None:
        if self.outcome == "miss":  # why it is a bypass is why it is not stored
            self.reason = f"{self.reason}; not stored: {why}".removeprefix("; ")

    def _report(self, tags: Mapping[str, TokenState]) -> None:
        if tracing():
            seconds = perf_counter() - self._started
            recipe = self.recipe
            names = readable(tags)
            record(Event(recipe.layer, recipe.key, self.outcome, seconds, names, self.reason))
