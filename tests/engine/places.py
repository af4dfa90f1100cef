"""Where the explored code runs: processes whose threads are greenlets, on a store and a database that ask first.

The code of the engine runs as it is. Whatever it asks of the store or of the database is a *request*: the greenlet
stops there, and the explorer decides who goes on. What a process does next depends on nothing but the answers that
it has got (random numbers and clocks are out of its way), so a process *is* the log of its answers: it is run again
from there wherever the search needs it. That makes states copyable, and lets the search remember them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest import mock

import greenlet

from django_layercache.engine import Engine, Recipe, Write, flights, is_not_after, writes
from django_layercache.stores.base import Entry, Reading

# A database holds, for each tag, the names of those who have committed a change under it: "AB".
Database = tuple[tuple[str, str], ...]
Truth = Callable[[dict[str, str]], tuple[str, ...]]


class CommitFailed(Exception):
    """The database refused the COMMIT: everything is rolled back."""


#: The answer that :exc:`CommitFailed` stands for.
FAILED = "COMMIT fails"


class Witness:
    """The codec of one call: values are tuples of strings. To decode one is to answer with it: a hit."""

    def __init__(self, on_hit: Callable[[Any], None]) -> None:
        self.on_hit = on_hit
        self.was_hit = False

    def dumps(self, value: tuple[str, ...]) -> bytes:
        return "\n".join(value).encode()

    def loads(self, data: bytes) -> tuple[str, ...]:
        value = tuple(data.decode().split("\n"))
        self.was_hit = True
        self.on_hit(value)
        return value


@dataclass(frozen=True)
class Request:
    """What a greenlet wants to do: *kind* is "store", "database" or "wait"."""

    kind: str
    name: str
    args: tuple[Any, ...] = ()


@dataclass
class Finding:
    """Something to check, or to take note of, that happened in the last step of a thread."""

    kind: str
    value: Any
    truth: Truth | None = None
    begun: Database = ()
    grows: bool = True


class AskingStore:
    """The store as the engine sees it: each call is a request."""

    exact = True
    in_process = True

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        return _unpack(_ask("store", "read", key, tuple(tags)))

    def read_many(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Reading]:
        packed = _ask("store", "read_many", tuple((key, tuple(tags)) for key, tags in requests))
        return [_unpack(reading) for reading in packed]

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        _ask("store", "write", key, tuple(entry.tokens.items()), entry.payload)

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        _ask("store", "mark", writer, tuple(sorted(tags)))

    def release(self, writer: str, tags: Iterable[str]) -> None:
        _ask("store", "release", writer, tuple(sorted(tags)))

    def close(self) -> None: ...


class EntryFirstStore(AskingStore):
    """One that keeps its entries elsewhere, as a cluster does: a read is two requests, and anybody may come between."""

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        entry = self._entry(key)
        return self._with_states(entry, tags)

    def read_many(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Reading]:
        entries = [self._entry(key) for key, _ in requests]
        readings = super().read_many(
            [
                (None, _all_tags(entry, tags))
                for entry, (_, tags) in zip(entries, requests, strict=True)
            ]
        )
        return [
            replace(reading, entry=entry) for entry, reading in zip(entries, readings, strict=True)
        ]

    def _entry(self, key: str | None) -> Entry | None:
        return None if key is None else _unpack((_ask("store", "entry", key), (), "")).entry

    def _with_states(self, entry: Entry | None, tags: Sequence[str]) -> Reading:
        return replace(super().read(None, _all_tags(entry, tags)), entry=entry)


class TagsFirstStore(EntryFirstStore):
    """The same the other way round: the tags that are known beforehand, the entry, then the rest of its tags."""

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        known = super().read(None, tags)
        entry = self._entry(key)
        more = [tag for tag in _all_tags(entry, ()) if tag not in known.states]
        states = {**known.states, **(super().read(None, more).states if more else {})}
        return replace(known, entry=entry, states=states)


def _all_tags(entry: Entry | None, tags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*tags, *(entry.tokens if entry else ()))))


def pack(reading: Reading, *, with_sequence: bool) -> tuple[Any, ...]:
    """A reading as a value that can be compared. The sequence is left out where nobody looks at it."""
    entry = reading.entry
    packed = None if entry is None else (tuple(entry.tokens.items()), entry.payload)
    return packed, tuple(reading.states.items()), reading.sequence if with_sequence else ""


def _unpack(packed: tuple[Any, ...]) -> Reading:
    entry, states, sequence = packed
    return Reading(
        None if entry is None else Entry(dict(entry[0]), entry[1]),
        dict(states),
        sequence,
        left=None,
    )


def _ask(kind: str, name: str, *args: Any) -> Any:
    answer = greenlet.getcurrent().parent.switch(Request(kind, name, args))
    if answer is FAILED:
        raise CommitFailed
    return answer


class Transaction:
    """The :class:`~django_layercache.engine.Isolation` of a thread: what it has changed, and its snapshot if any."""

    def __init__(self) -> None:
        self.dirty: dict[str, str] = {}
        self.snapshot: Database | None = None
        self.position = ""

    @property
    def has_written(self) -> bool:
        return bool(self.dirty)

    def objection(self, states: Any) -> str | None:
        if not self.dirty.keys().isdisjoint(states):
            return "dirty"
        if self.snapshot is not None:
            late = [tag for tag, token in states.items() if not is_not_after(token, self.position)]
            return f"after the snapshot: {late}" if late else None
        return None

    def must_read(self, states: Any) -> None:
        return None

    def seen(self, database: dict[str, str]) -> dict[str, str]:
        """What this transaction sees while the database holds *database*."""
        seen = dict(database if self.snapshot is None else self.snapshot)
        for tag, name in tuple(self.dirty.items()):
            seen[tag] = "".join(sorted(seen.get(tag, "") + name))
        return seen


@dataclass(frozen=True)
class Question:
    """What readers ask for: a key, the tags known beforehand, how to build it, and what is true.

    What is true *grows* with each commit, as a rule: then one can see of a value that it is from before a commit.
    """

    key: str
    build: Callable[["Place"], tuple[str, ...]]
    truth: Truth
    tags: tuple[str, ...] = ()
    settle: Callable[[Any], Iterable[str]] | None = None
    late: Callable[[Any], Mapping[str, Sequence[str]]] | None = None
    grows: bool = True


class Place:
    """What a program (one thread of one process) works with."""

    def __init__(
        self, name: str, engine: Engine, programs: Sequence["Program"], mutations: "Mutations"
    ):
        self.name = name
        self.engine = engine
        self.mutations = mutations
        self.findings: list[Finding] = []
        self.begun: Database = ()
        self.answered = 0
        self.transaction = mutations.transaction()
        self.segment = 0
        self.carried: Any = None
        self.ids = 0
        self._programs = programs

    # -- for programs ---------------------------------------------------------------------

    def get(self, question: "Question") -> Any:
        """``get_or_build``, with its answer put up for examination."""
        recipe, witness = self._recipe(question)
        value = self.engine.get_or_build(recipe, lambda: question.build(self))
        if not witness.was_hit:
            self._put_up("answer", value, question)
        return value

    def refresh(self, question: "Question") -> None:
        recipe, _ = self._recipe(question)
        value = self.engine.refresh(recipe, lambda: question.build(self))
        self._put_up("answer", value, question)

    def get_many(self, *questions: "Question") -> list[Any]:
        recipes = [self._recipe(question) for question in questions]
        values = self.engine.get_many(
            [
                (recipe, partial(question.build, self))
                for question, (recipe, _) in zip(questions, recipes, strict=True)
            ]
        )
        for question, (_, witness), value in zip(questions, recipes, values, strict=True):
            if not witness.was_hit:
                self._put_up("answer", value, question)
        return values

    def _recipe(self, question: "Question") -> tuple[Recipe, Witness]:
        witness = Witness(lambda value: self._put_up("hit", value, question))
        recipe = Recipe(
            "explored",
            question.key,
            witness,
            None,
            question.tags,
            question.settle,
            late=question.late,
        )
        return recipe, witness

    def _put_up(self, kind: str, value: Any, question: "Question") -> None:
        # A hit is judged by what the database holds now, a snapshot reader's by its snapshot.
        kind = kind if self.transaction.snapshot is None else f"snapshot {kind}"
        seen, truth = self.transaction.seen, question.truth
        self.findings.append(
            Finding(kind, value, lambda database: truth(seen(database)), self.begun, question.grows)
        )

    def select(self, *tags: str) -> tuple[str, ...]:
        """One query: what the database holds at one instant."""
        if self.transaction.snapshot is not None:
            seen = self.transaction.seen({})
        else:
            seen = self.transaction.seen(dict(_ask("database", "select", tags)))
        return tuple(seen[tag] for tag in tags)

    def read_recording(self, *tags: str) -> tuple[str, ...]:
        """One query that is not cached by itself: the scope around it depends on its tags."""
        return self.engine.record(tags, lambda: self.select(*tags))

    def begin_snapshot(self) -> None:
        """BEGIN, under REPEATABLE READ."""
        self.join_snapshot(self.mutations.begin_snapshot(self))

    def position(self) -> str:
        return _ask("store", "position")

    def snapshot(self) -> Database:
        return _ask("database", "snapshot")

    def join_snapshot(self, carried: tuple[str, Database]) -> None:
        self.transaction.position, self.transaction.snapshot = carried
        self.carried = carried

    def commit(self, name: str, tags: Sequence[str]) -> None:
        _ask("database", "commit", name, tuple(tags))

    def returned(self, name: str) -> None:
        """The commit of *name* has returned to its caller."""
        self.findings.append(Finding("returned", name))

    # -- for the runner -------------------------------------------------------------------

    def hear(self, begun: Database | None) -> None:
        """One more answer comes; with the first of a program, what had returned when it began."""
        self.answered += 1
        if begun is not None:
            self.begun = begun

    def run(self, segment: int, carried: Any) -> None:
        self.carried = carried
        for number in range(segment, len(self._programs)):
            self.segment, self.answered = number, 0
            self.transaction = self.mutations.transaction()
            self._programs[number](self)
        self.segment, self.answered, self.carried = len(self._programs), 0, None


Program = Callable[[Place], None]


@dataclass(frozen=True)
class Process:
    """Threads on one engine; each is a sequence of programs that share nothing but ``carried``."""

    name: str
    threads: tuple[tuple[Program, ...], ...]


@dataclass
class Mutations:
    """A rule switched off: other classes and patches in place of the real ones. Empty: the real code."""

    engine: type[Engine] = Engine
    store: Callable[[], Any] = AskingStore
    #: Whether a process is more than where its threads are: its store remembers what it has read.
    remembers: bool = False
    transaction: type[Transaction] = Transaction
    patches: tuple[tuple[Any, str, Any], ...] = ()

    def finish(self, place: "Place", write: Write, name: str, tags: Sequence[str]) -> None:
        """What whoever drives a transaction does at its end."""
        write.mark()
        try:
            place.commit(name, tags)
        except CommitFailed:
            write.release()
        else:
            write.release()
            place.returned(name)

    def finish_cut_off(self, place: "Place", write: Write, name: str, tags: Sequence[str]) -> None:
        """The connection breaks during COMMIT, and the database commits when it pleases."""
        write.mark()
        write.abandon()
        with suppress(CommitFailed):
            place.commit(name, tags)

    def begin_snapshot(self, place: "Place") -> tuple[str, Database]:
        """The position of the sequence first, then the snapshot."""
        position = place.position()
        return position, place.snapshot()

    def on_savepoint_rollback(self, write: Write) -> None:
        """Dirty tags stay dirty."""

    @contextmanager
    def applied(self) -> Any:
        with ExitStack() as stack:
            for where, name, value in self.patches:
                stack.enter_context(mock.patch.object(where, name, value))
            stack.enter_context(mock.patch.object(writes, "secrets", _CountingSecrets))
            stack.enter_context(mock.patch.object(flights._Flight, "wait", _wait))
            yield


class _CountingSecrets:
    @staticmethod
    def token_hex(size: int) -> str:
        place = greenlet.getcurrent().place
        place.ids += 1
        return f"{place.name}.{place.ids}"


def _wait(flight: Any) -> None:
    _ask("wait", "wait", flight)


Log = tuple[tuple[int, Any, Database | None], ...]
Base = tuple[tuple[int, Any], ...]


@dataclass(frozen=True)
class Progress:
    """Where the threads of a process are after a log of answers.

    ``base`` says where to go on from with an empty log, if every thread stands between two programs.
    """

    pending: tuple[Request | None, ...]
    blocked: tuple[bool, ...]
    first: tuple[bool, ...]
    base: Base | None
    findings: tuple[Finding, ...]


class Runner:
    """Runs processes from their logs, and remembers where each log leads."""

    def __init__(self, processes: Sequence[Process], mutations: Mutations) -> None:
        self._processes = processes
        self._mutations = mutations
        self._known: dict[tuple[int, Base, Log], Progress] = {}

    def progress(self, process: int, base: Base, log: Log) -> Progress:
        known = (process, base, log)
        if known not in self._known:
            self._known[known] = self._run(self._processes[process], base, log)
        return self._known[known]

    def _run(self, process: Process, base: Base, log: Log) -> Progress:
        engine = self._mutations.engine(self._mutations.store(), isolation=_transaction, jitter=0)
        places = [
            Place(f"{process.name}{number or ''}", engine, programs, self._mutations)
            for number, programs in enumerate(process.threads)
        ]
        threads = [_Thread(place.run, place) for place in places]
        pending = [thread.switch(*start) for thread, start in zip(threads, base, strict=True)]
        for number, answer, begun in log:
            for place in places:
                place.findings.clear()
            places[number].hear(begun)
            pending[number] = threads[number].switch(answer)
        try:
            progress = _progress(places, pending)
            return replace(progress, base=None) if self._mutations.remembers else progress
        finally:
            for thread in threads:
                if not thread.dead:
                    thread.throw(greenlet.GreenletExit)


def _transaction() -> Transaction:
    return greenlet.getcurrent().place.transaction


class _Thread(greenlet.greenlet):
    def __init__(self, run: Callable[..., None], place: Place) -> None:
        super().__init__(run)
        self.place = place


def _progress(places: Sequence[Place], pending: Sequence[Any]) -> Progress:
    between_programs = all(place.answered == 0 for place in places)
    return Progress(
        pending=tuple(request if isinstance(request, Request) else None for request in pending),
        blocked=tuple(
            isinstance(request, Request)
            and request.kind == "wait"
            and not request.args[0]._landed.is_set()
            for request in pending
        ),
        first=tuple(place.answered == 0 for place in places),
        base=tuple((place.segment, place.carried) for place in places)
        if between_programs
        else None,
        findings=tuple(finding for place in places for finding in place.findings),
    )
