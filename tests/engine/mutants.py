"""The protocol with one rule switched off: small mutations of the real code, each with a mix that shows its fault."""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from django_layercache.engine import Engine, Write, attempts, current_scope, late
from django_layercache.engine.attempts import MISS, Attempt
from django_layercache.engine.isolation import pending_tags
from django_layercache.engine.scopes import Scope
from django_layercache.stores.base import PENDING, Reading, Token, TokenState
from django_layercache.stores.local import LocalStore
from tests.engine.places import CommitFailed, Database, Mutations, Place, Transaction
from tests.engine.subjects import Content, Happening, LocalSubject


@dataclass(frozen=True)
class Mutant:
    """*rule* is what does not hold any more."""

    rule: str
    mix: str
    mutations: Mutations = field(default_factory=Mutations)
    subject: Callable[[], LocalSubject] = LocalSubject


MUTANTS: list[Mutant] = []


def mutant(rule: str, mix: str, **parts: Any) -> None:
    MUTANTS.append(Mutant(rule, mix, **parts))


def on(store_class: type[LocalStore], more: str = "") -> Callable[[], LocalSubject]:
    return lambda: LocalSubject(store_class, more)


# -- reading -------------------------------------------------------------------------------


class FetchesTagsLate(Engine):
    def record(
        self, tags: Sequence[str], read: Callable[[], Any], settle: Any = None, late: Any = None
    ) -> Any:
        scope = current_scope()
        value = read()
        if scope is not None:
            fetched, _ = self._fetch(scope, tags)
            scope.observe(fetched.states, fetched.objection)
            if pending := pending_tags(fetched.states):
                scope.forbid(f"pending: {pending}")
        return value


mutant(
    "read 1: tags are fetched before the source of truth is read",
    "a writer of two tags, a reader whose tags become known while it builds",
    mutations=Mutations(engine=FetchesTagsLate),
)

_use = Attempt._use


def _use_under(choose: Callable[[TokenState, Token], TokenState]) -> tuple[Any, str, Any]:
    """Attempt._use with other states than those that were read."""

    def use(self: Attempt, entry: Any, reading: Reading) -> Any:
        chosen = {tag: choose(reading.states[tag], token) for tag, token in entry.tokens.items()}
        return _use(self, entry, replace(reading, states=chosen))

    return Attempt, "_use", use


mutant(
    "read 2: the entry of a pending tag is not used",
    "one writer, two readers",
    mutations=Mutations(
        patches=(_use_under(lambda state, token: token if state is PENDING else state),)
    ),
)


def _isolation_only(isolation: Any, states: Any) -> str | None:
    settled = {tag: token for tag, token in states.items() if token is not PENDING}
    return None if isolation is None else isolation.objection(settled)


mutant(
    "read 2: nothing is stored while a tag is pending",
    "one writer, two readers",
    mutations=Mutations(patches=((attempts, "objection", _isolation_only),)),
)


class TrustsMissingTokens(LocalStore):
    def _read(self, key: str | None, tags: Sequence[str]) -> Reading:
        slot = self._entries.get(key) if key is not None else None
        for tag, token in slot.entry.tokens.items() if slot is not None else ():
            if tag not in self._tokens and not self._is_marked(tag):
                self._tokens[tag] = token
        return super()._read(key, tags)


mutant(
    "read 3: a missing token is never unchanged",
    "one writer, two readers",
    subject=on(TrustsMissingTokens),
)
mutant(
    "read 4: a hit needs equal tokens",
    "one writer, two readers",
    mutations=Mutations(
        patches=(_use_under(lambda state, token: PENDING if state is PENDING else token),)
    ),
)


class StoresUnderLateTokens(Engine):
    def _finish(self, attempt: Attempt, value: Any, states: Any) -> Any:
        return super()._finish(attempt, value, self.store.read(None, tuple(states)).states)


mutant(
    "read 5: a value is stored under the tokens that were fetched before it was built",
    "one writer, two readers",
    mutations=Mutations(engine=StoresUnderLateTokens),
)

mutant(
    "late tags: only those that have not changed since S0 count",
    "a writer of a key, one of the row behind it, a reader that learns which row that is",
    mutations=Mutations(
        patches=((late, "_held_since", lambda sequence, state: state is not None),)
    ),
)


class PositionAfterReading(Engine):
    def _narrowed(self, attempt: Attempt, value: Any) -> Any:
        attempt.sequence = self.store.read(None, tuple(attempt.recipe.tags)).sequence
        return super()._narrowed(attempt, value)


mutant(
    "late tags: S0 is the position before the read, not after it",
    "a writer of a key, one of the row behind it, a reader that learns which row that is",
    mutations=Mutations(engine=PositionAfterReading),
)

# -- scopes --------------------------------------------------------------------------------


class LastStateCounts(Scope):
    def observe(self, states: Any, objection: str | None = None) -> None:
        self.states.update(states)
        if objection is not None:
            self.forbid(objection)


mutant(
    "scopes: the state before the first read of a tag is the one that counts",
    "a page that shows a fragment of what it has read before",
    mutations=Mutations(patches=((attempts, "Scope", LastStateCounts),)),
)


def _without_parent(method: Any) -> Any:
    def call(self: Attempt, *args: Any) -> Any:
        parent, self._parent = self._parent, None
        try:
            return method(self, *args)
        finally:
            self._parent = parent

    return call


mutant(
    "scopes: what a fragment depends on bubbles up when it is a hit",
    "a page over a fragment that another reader stores",
    mutations=Mutations(patches=((Attempt, "_use", _without_parent(_use)),)),
)
mutant(
    "scopes: what a fragment depends on bubbles up when it is a miss",
    "a page over a fragment that another reader stores",
    mutations=Mutations(patches=((Attempt, "finish", _without_parent(Attempt.finish)),)),
)
mutant(
    "scopes: what a fragment depends on bubbles up when it fails",
    "a writer, two readers of a page that does without its broken fragment",
    mutations=Mutations(patches=((Attempt, "fail", _without_parent(Attempt.fail)),)),
)

# -- reading inside a transaction that writes --------------------------------------------------


class _NotDirty(Transaction):
    @property
    def has_written(self) -> bool:
        return False

    def objection(self, states: Any) -> str | None:
        dirty, self.dirty = self.dirty, {}
        try:
            return super().objection(states)
        finally:
            self.dirty = dirty


_OF_ITS_OWN = "a writer that reads what it has changed, and two readers"


def _use_without_isolation(self: Attempt, entry: Any, reading: Reading) -> Any:
    isolation, self.isolation = self.isolation, None
    try:
        return _use(self, entry, reading)
    finally:
        self.isolation = isolation


def _pending_only(isolation: Any, states: Any) -> str | None:
    return "pending" if pending_tags(states) else None


mutant(
    "write 1: a transaction reads its dirty tags from the database",
    _OF_ITS_OWN,
    mutations=Mutations(patches=((Attempt, "_use", _use_without_isolation),)),
)
mutant(
    "write 1: a transaction stores nothing that depends on its dirty tags",
    _OF_ITS_OWN,
    mutations=Mutations(patches=((attempts, "objection", _pending_only),)),
)
mutant(
    "write 1: dirty tags are for the database, nested in a page, too",
    "a writer that builds a page of what it has changed, a writer, a reader of the page",
    mutations=Mutations(transaction=_NotDirty),
)

# -- writing -------------------------------------------------------------------------------


class MarksNothing(Mutations):
    def finish(self, place: Place, write: Write, name: str, tags: Sequence[str]) -> None:
        write._marked = frozenset(write.dirty)
        try:
            place.commit(name, tags)
        except CommitFailed:
            write.forget()
        else:
            write.release()
            place.returned(name)


class MarksAfterCommit(Mutations):
    def finish(self, place: Place, write: Write, name: str, tags: Sequence[str]) -> None:
        try:
            place.commit(name, tags)
        except CommitFailed:
            return
        write.mark()
        write.release()
        place.returned(name)


class ReleasesBeforeCommit(Mutations):
    def finish(self, place: Place, write: Write, name: str, tags: Sequence[str]) -> None:
        write.mark()
        write.release()
        try:
            place.commit(name, tags)
        except CommitFailed:
            return
        place.returned(name)


class ForgetsAtSavepoint(Mutations):
    def on_savepoint_rollback(self, write: Write) -> None:
        write.forget()


class ReleasesWhenCutOff(Mutations):
    def finish_cut_off(self, place: Place, write: Write, name: str, tags: Sequence[str]) -> None:
        write.mark()
        write.release()
        with suppress(CommitFailed):
            place.commit(name, tags)


mutant(
    "write 2: tags are marked before COMMIT", "one writer, two readers", mutations=MarksNothing()
)
mutant("write 2: before COMMIT, not after", "one writer, two readers", mutations=MarksAfterCommit())
mutant(
    "write 4: marks are released after COMMIT, not before",
    "one writer, two readers",
    mutations=ReleasesBeforeCommit(),
)
mutant(
    "write: a rollback to a savepoint keeps tags dirty",
    "a savepoint that is rolled back, in a transaction that changes more",
    mutations=ForgetsAtSavepoint(),
)
mutant(
    "write: marks stay where nobody knows whether the COMMIT happened",
    "a writer that is cut off while it commits, a writer, a reader",
    mutations=ReleasesWhenCutOff(),
)

# -- marks ---------------------------------------------------------------------------------

_OVERLAP = "two writers of one tag, one reader"


class ReleasesAllMarks(LocalStore):
    def _remove_mark(self, writer: str, tag: str) -> None:
        self._marks.pop(tag, None)


class PlainSets(LocalStore):
    def mark(self, writer: str, tags: Any, lease: float) -> None:
        for tag in tags:
            self._tokens.pop(tag, None)
            self._marks[tag] = {"somebody": self._clock() + lease}

    def release(self, writer: str, tags: Any) -> None:
        for tag in tags:
            self._marks.pop(tag, None)
            self._publish(tag)


class ReleasesOnlyWhatItFinds(LocalStore):
    def release(self, writer: str, tags: Any) -> None:
        super().release(writer, [tag for tag in tags if writer in self._marks.get(tag, {})])


class MintsOverMarks(LocalStore):
    def _mint(self, tag: str) -> TokenState:
        return self._publish(tag)


class RestoresTokens(LocalStore):
    """A mark only covers the token, which is there again when the lease runs out."""

    def mark(self, writer: str, tags: Any, lease: float) -> None:
        covered = {tag: self._tokens[tag] for tag in tags if tag in self._tokens}
        super().mark(writer, tags, lease)
        self._tokens.update(covered)

    def _read(self, key: str | None, tags: Sequence[str]) -> Reading:
        reading = super()._read(key, tags)
        states = {
            tag: PENDING if self._is_marked(tag) else state for tag, state in reading.states.items()
        }
        return Reading(reading.entry, states, reading.sequence)


class ResetsMarks(LocalStore):
    def reset(self) -> None:
        super().reset()
        self._marks.clear()


mutant("marks: a release removes its own mark only", _OVERLAP, subject=on(ReleasesAllMarks))
mutant("marks: mark and release are not plain sets", _OVERLAP, subject=on(PlainSets))
mutant(
    "marks: a release that does not find its mark draws a new token all the same",
    "COMMITs that outlive their lease",
    subject=on(ReleasesOnlyWhatItFinds),
)
mutant("marks: a tag with a live mark is not minted", _OVERLAP, subject=on(MintsOverMarks))
mutant(
    "marks: a tag whose lease ran out has no token, and is minted",
    "one writer, two readers",
    subject=on(RestoresTokens),
)
mutant(
    "marks: a reset leaves them",
    "a reset, two writers, one reader",
    subject=on(ResetsMarks),
)


class LosesMarks(LocalSubject):
    """A server that drops marks, and has no register that knows of them."""

    def happenings(self, content: Content, kinds: Container[str]) -> Iterator[Happening]:
        tokens, marks, entries = content
        for tag in sorted({tag for tag, _, _ in marks}):
            kept = tuple(mark for mark in marks if mark[0] != tag)
            yield Happening("evict", f"the marks of {tag} are lost", (tokens, kept, entries))
        yield from super().happenings(content, kinds)


mutant("marks: none is lost unnoticed", "one writer, two readers", subject=LosesMarks)

# -- tokens --------------------------------------------------------------------------------


class RestartsCounter(LocalSubject):
    """The sequence is in the store, and is evicted with the token."""

    renames = False

    def save(self) -> Content:
        return (*super().save(), self.store._sequence)

    def load(self, content: Content, top: int) -> None:
        super().load(content[:3], content[3])

    def happenings(self, content: Content, kinds: Container[str]) -> Iterator[Happening]:
        for kind, label, left, consequence in super().happenings(content, kinds):
            sequence = 0 if kind == "evict" else content[3]
            yield Happening(kind, label, (*left[:3], sequence), consequence)


class DrawsBeforeCommit(LocalStore):
    _drawn: dict[str, Token]

    def mark(self, writer: str, tags: Any, lease: float) -> None:
        super().mark(writer, tags, lease)
        for tag in tags:
            self._sequence += 1
            self._drawn[tag] = self._format(self._sequence)

    def release(self, writer: str, tags: Any) -> None:
        super().release(writer, tags)
        for tag in tags:
            if tag in self._tokens and tag in self._drawn:
                self._tokens[tag] = self._drawn.pop(tag)


_SNAPSHOT = "a writer, a reader, a reader with a snapshot"
mutant(
    "tokens: the sequence never restarts",
    "a writer that writes twice, a reader",
    subject=RestartsCounter,
)
mutant(
    "tokens: a token is drawn after the COMMIT",
    _SNAPSHOT,
    subject=lambda: _with_drawn(LocalSubject(DrawsBeforeCommit, "_drawn")),
)


def _with_drawn(subject: LocalSubject) -> LocalSubject:
    subject.store._drawn = {}
    return subject


# -- snapshots -----------------------------------------------------------------------------


class PositionAfterSnapshot(Mutations):
    def begin_snapshot(self, place: Place) -> tuple[str, Database]:
        snapshot = place.snapshot()
        return place.position(), snapshot


mutant(
    "snapshots: a hit needs tokens that are not after S0",
    _SNAPSHOT,
    mutations=Mutations(patches=((Attempt, "_use", _use_without_isolation),)),
)
mutant(
    "snapshots: so does a store",
    _SNAPSHOT,
    mutations=Mutations(patches=((attempts, "objection", _pending_only),)),
)
mutant("snapshots: S0 is taken before the snapshot", _SNAPSHOT, mutations=PositionAfterSnapshot())

# -- flights -------------------------------------------------------------------------------


class SharesValues(Engine):
    def get_or_build(self, recipe: Any, build: Callable[[], Any]) -> Any:
        attempt = self._attempt(recipe)
        value = self._look(attempt, recipe.key)
        if value is not MISS:
            return value
        built = self.__dict__.setdefault("built", {})
        with self._flights.lead_or_join(recipe.key) as flight:
            if flight is not None:
                flight.wait()
                if recipe.key in built:
                    return built[recipe.key]
            built[recipe.key] = value = self._build(attempt, build)
            return value


mutant(
    "flights: who waited looks in the store, and does not take what was built for another",
    "two threads of one process and a writer",
    mutations=Mutations(engine=SharesValues),
)
