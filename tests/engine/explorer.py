"""A model checker for the protocol whose model is the real code.

A *mix* is some processes, each a few threads that run programs (tests/engine/programs.py) on the real engine; the
store is a real one, and the database a toy that knows who has committed under which tag. Every operation on the
store, every query, COMMIT and ROLLBACK, and every wait for another's flight is a point at which anybody else may go
on instead. So may the environment: tokens are evicted, leases run out, COMMITs fail, the store is reset; each as often
as the mix has a budget for. A writer that crashes is one that never goes on.

:func:`explore` visits every state that can be reached, shortest schedules first, and judges in each step:

- a hit equals what the database holds at the instant at which its tokens were read (and a hit inside a transaction
  what that transaction sees);
- a hit, and every other answer, under a snapshot equals the snapshot;
- no answer to a question that was asked after a commit had returned is from before that commit.

What the protocol presumes, the environment respects, and nothing more: the lease is longer than a COMMIT, and so is
the grace. A COMMIT that takes longer than the lease of its mark does not succeed here (its writer crashed, or the
database refused). ``lenient`` drops that presumption, and with it the first two of the sentences; the third must hold
all the same.
"""

import random
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from django_layercache.stores.base import Entry
from tests.engine.places import (
    FAILED,
    Database,
    Finding,
    Log,
    Mutations,
    Place,
    Process,
    Question,
    Request,
    Runner,
    pack,
)
from tests.engine.subjects import LEASE, Content, LocalSubject, Subject

_TOKEN = re.compile(r"\b[0-9a-f]{8}\d{16}\b")


@dataclass(frozen=True)
class Mix:
    """Who takes part, and how often the environment may do what."""

    processes: tuple[Process, ...]
    budgets: Mapping[str, int] = field(default_factory=dict)
    tags: tuple[str, ...] = ("a", "b")
    lenient: bool = False
    #: Whether the position of a reading matters to anybody; without it there are fewer states.
    with_sequence: bool = False
    #: Asked and stored before anything else happens.
    warm: tuple[Question, ...] = ()


class State(NamedTuple):
    """Everything that decides how it can go on."""

    store: Content
    database: Database
    returned: frozenset[str]
    processes: tuple[tuple[Any, Log], ...]
    budgets: tuple[tuple[str, int], ...]
    #: Threads whose COMMIT must not succeed any more, and those for whom that will be so after the grace.
    overdue: frozenset[tuple[int, int]] = frozenset()
    exposed: frozenset[tuple[int, int]] = frozenset()
    #: The highest token that anybody holds.
    top: int = 0

    @property
    def returned_database(self) -> Database:
        return tuple(
            (tag, "".join(name for name in names if name in self.returned))
            for tag, names in self.database
        )


@dataclass(frozen=True)
class Step:
    """One thing that happened."""

    label: str
    state: State
    findings: tuple[Finding, ...] = ()


Choice = Callable[[], Step | None]


@dataclass
class Report:
    """What an exploration saw. ``schedule`` is the shortest way to the first violation, if there was any."""

    states: int = 0
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violation: str = ""
    schedule: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {kind}s" for kind, number in sorted(self.counts.items()))
        head = f"{self.states} states, {self.steps} steps; {counts}"
        if not self.violation:
            return head
        lines = [f"{number:3}. {label}" for number, label in enumerate(self.schedule, 1)]
        return "\n".join([head, *lines, f"  => {self.violation}"])


class World:
    """A mix on a subject: its first state, and where each state can lead."""

    def __init__(
        self, mix: Mix, subject: Subject | None = None, mutations: Mutations | None = None
    ) -> None:
        self.mix = mix
        self.subject = subject or LocalSubject()
        self.runner = Runner(mix.processes, mutations or Mutations())
        self.mutations = mutations or Mutations()
        # What the store answered, and held afterwards: it depends on nothing but what it held.
        self._answers: dict[Any, tuple[Any, Content]] = {}

    def first(self) -> State:
        """Nobody has begun yet."""
        first = self._initial()
        for question in self.mix.warm:
            warmer = Process("(warm)", ((partial(Place.get, question=question),),))
            mix = replace(self.mix, processes=(warmer,), budgets={}, warm=())
            world = World(mix, self.subject, Mutations(store=self.mutations.store))
            state = world._initial()._replace(store=first.store, top=first.top)
            while choices := world.choices(state):
                state = choices[0]().state
            first = first._replace(store=state.store, top=state.top)
        return first

    def _initial(self) -> State:
        return State(
            store=self.subject.save(),
            database=tuple((tag, "") for tag in self.mix.tags),
            returned=frozenset(),
            processes=tuple(
                (tuple((0, None) for _ in process.threads), ()) for process in self.mix.processes
            ),
            budgets=tuple(sorted(self.mix.budgets.items())),
        )

    def choices(self, state: State) -> list[Choice]:
        """Every way to go on, not yet gone."""
        return [*self._moves(state), *self._happenings(state)]

    # -- threads --------------------------------------------------------------------------

    def _moves(self, state: State) -> Iterable[Choice]:
        for process, (base, log) in enumerate(state.processes):
            progress = self.runner.progress(process, base, log)
            for thread, request in enumerate(progress.pending):
                if request is None:
                    continue
                who = (process, thread)
                if progress.blocked[thread]:
                    yield lambda who=who: self._lose_patience(state, who)
                elif request.name == "commit":
                    yield lambda who=who, request=request: self._commit(state, who, request)
                    yield lambda who=who, request=request: self._fail_commit(state, who, request)
                else:
                    yield lambda who=who, request=request: self._move(state, who, request)

    def _move(self, state: State, who: tuple[int, int], request: Request) -> Step:
        if request.kind == "store":
            answer, state = self._call_store(state, request)
        elif request.name == "snapshot":
            answer = state.database
        elif request.name == "select":
            answer = tuple(item for item in state.database if item[0] in request.args[0])
        else:
            answer = None
        return self._go_on(state, who, answer, _describe(request))

    def _call_store(self, state: State, request: Request) -> tuple[Any, State]:
        known = (state.store, state.top, request)
        if known not in self._answers:
            self.subject.load(state.store, state.top)
            answer = _call(self.subject.store, request, self.mix.with_sequence)
            self._answers[known] = answer, self.subject.save()
        answer, content = self._answers[known]
        return answer, state._replace(store=content)

    def _commit(self, state: State, who: tuple[int, int], request: Request) -> Step | None:
        if who in state.overdue:
            return None
        name, tags = request.args
        database = tuple(
            (tag, "".join(sorted(names + name)) if tag in tags else names)
            for tag, names in state.database
        )
        return self._go_on(state._replace(database=database), who, None, "COMMIT")

    def _fail_commit(self, state: State, who: tuple[int, int], request: Request) -> Step | None:
        paid = state if who in state.overdue else _pay(state, "fail")
        if paid is None:
            return None
        return self._go_on(paid, who, FAILED, "COMMIT fails")

    def _lose_patience(self, state: State, who: tuple[int, int]) -> Step | None:
        paid = _pay(state, "impatience")
        return (
            None if paid is None else self._go_on(paid, who, None, "stop waiting, out of patience")
        )

    def _go_on(self, state: State, who: tuple[int, int], answer: Any, what: str) -> Step:
        process, thread = who
        base, log = state.processes[process]
        before = self.runner.progress(process, base, log)
        begun = state.returned_database if before.first[thread] else None
        log = (*log, (thread, answer, begun))
        after = self.runner.progress(process, base, log)
        if after.base is not None:
            base, log = after.base, ()
        returned = {finding.value for finding in after.findings if finding.kind == "returned"}
        state = state._replace(
            processes=_put(state.processes, process, (base, log)),
            returned=state.returned | returned,
            overdue=state.overdue - {who},
            exposed=state.exposed - {who},
        )
        name = self.mix.processes[process].name + (str(thread) if thread else "")
        shown = "".join(
            f"  -> {f.kind} {f.value}" for f in after.findings if f.kind.endswith(("hit", "answer"))
        )
        return Step(f"{name}: {what}{shown}", self._normal(state), after.findings)

    # -- the environment ------------------------------------------------------------------

    def _happenings(self, state: State) -> Iterable[Choice]:
        kinds = {kind for kind, left in state.budgets if left}
        if not kinds:
            return
        for happening in self.subject.happenings(state.store, kinds):
            paid = _pay(state, happening.kind)
            if paid is not None:
                yield lambda paid=paid, happening=happening: self._happen(paid, happening)

    def _happen(self, state: State, happening: Any) -> Step:
        state = state._replace(store=happening.content)
        if (
            happening.consequence == "lease"
            and not self.mix.lenient
            or happening.consequence == "time"
        ):
            state = state._replace(overdue=state.overdue | self._in_doubt(state))
        elif happening.consequence == "grace":
            state = state._replace(overdue=state.overdue | state.exposed)
        elif happening.consequence == "loses marks":
            state = state._replace(exposed=state.exposed | self._in_doubt(state))
        return Step(f"({happening.label})", self._normal(state))

    def _in_doubt(self, state: State) -> frozenset[tuple[int, int]]:
        """The threads that have marked, and are about to commit."""
        return frozenset(
            (process, thread)
            for process, (base, log) in enumerate(state.processes)
            for thread, request in enumerate(self.runner.progress(process, base, log).pending)
            if request is not None and request.name == "commit"
        )

    # -- judging --------------------------------------------------------------------------

    def judge(self, step: Step) -> str:
        """What is wrong with *step*, if anything."""
        database = dict(step.state.database)
        for finding in step.findings:
            if finding.kind == "returned":
                continue
            assert finding.truth is not None
            if finding.kind.startswith("snapshot") or finding.kind == "hit":
                if self.mix.lenient and finding.kind == "hit":
                    continue
                truth = finding.truth(database)
                if finding.value != truth:
                    return f"stale: the {finding.kind} says {finding.value}, the truth is {truth}"
        for finding in step.findings:
            if finding.kind in {"hit", "answer"} and finding.grows:
                least = finding.truth(dict(finding.begun))
                if not all(set(a) <= set(b) for a, b in zip(least, finding.value, strict=True)):
                    return f"stale: answered {finding.value}, but {least} had returned before the question"
        return ""

    # -- states ---------------------------------------------------------------------------

    def key(self, state: State) -> int:
        """A number for *state*, the same for all from which nothing different can follow."""
        processes = tuple(
            self._situation(process, *at) for process, at in enumerate(state.processes)
        )
        return hash(state._replace(processes=processes))

    def _situation(self, process: int, base: Any, log: Log) -> Any:
        if len(base) == 1:
            return base, log
        # In which order the threads of a process got their answers matters only for who waits for whom.
        progress = self.runner.progress(process, base, log)
        logs = tuple(
            tuple(entry for entry in log if entry[0] == thread) for thread in range(len(base))
        )
        waits = tuple(request and request.kind == "wait" for request in progress.pending)
        return base, logs, waits, progress.blocked

    def _normal(self, state: State) -> State:
        return _renamed(state) if self.subject.renames else state


def explore(
    mix: Mix,
    subject: Subject | None = None,
    mutations: Mutations | None = None,
    limit: int = 2_000_000,
) -> Report:
    """Visit every state of *mix*, or stop at the first violation."""
    world = World(mix, subject, mutations)
    report = Report()
    with world.mutations.applied():
        first = world.first()
        came_from: dict[int, tuple[int, str]] = {world.key(first): (0, "")}
        waiting = deque([first])
        while waiting:
            state = waiting.popleft()
            here = world.key(state)
            report.states += 1
            for choice in world.choices(state):
                step = choice()
                if step is None:
                    continue
                report.steps += 1
                report.counts.update(finding.kind for finding in step.findings)
                there = world.key(step.state)
                report.violation = world.judge(step)
                if report.violation:
                    report.schedule = [*_path(came_from, here), step.label]
                    return report
                if there not in came_from:
                    came_from[there] = (here, step.label)
                    waiting.append(step.state)
            assert report.steps < limit, f"too large a mix: {report}"
    return report


def wander(
    mix: Mix,
    walks: int,
    seed: int,
    subject: Subject | None = None,
    mutations: Mutations | None = None,
) -> Report:
    """Take *walks* random ways through a mix that is too large to explore."""
    world = World(mix, subject, mutations)
    report = Report()
    chance = random.Random(seed)
    with world.mutations.applied():
        first = world.first()
        for _ in range(walks):
            state, schedule = first, []
            while True:
                step = _random_step(world, state, chance)
                if step is None:
                    break
                report.steps += 1
                report.counts.update(finding.kind for finding in step.findings)
                schedule.append(step.label)
                report.violation = world.judge(step)
                if report.violation:
                    report.schedule = schedule
                    return report
                state = step.state
            report.states += 1
    return report


def _random_step(world: World, state: State, chance: random.Random) -> Step | None:
    moves, happenings = list(world._moves(state)), list(world._happenings(state))
    chance.shuffle(moves)
    chance.shuffle(happenings)
    for choice in [*happenings, *moves] if chance.random() < 0.1 else moves:
        step = choice()
        if step is not None:
            return step
    return None


def _path(came_from: Mapping[int, tuple[int, str]], here: int) -> list[str]:
    labels = []
    while True:
        here, label = came_from[here]
        if not label:
            return labels[::-1]
        labels.append(label)


def _pay(state: State, kind: str) -> State | None:
    budgets = dict(state.budgets)
    if not budgets.get(kind):
        return None
    budgets[kind] -= 1
    return state._replace(budgets=tuple(sorted(budgets.items())))


def _put(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])


# -- asking the real store -----------------------------------------------------------------


def _call(store: Any, request: Request, with_sequence: bool) -> Any:
    match request.name, request.args:
        case "read", (key, tags):
            return pack(store.read(key, tags), with_sequence=with_sequence)
        case "read_many", (requests,):
            return tuple(pack(r, with_sequence=with_sequence) for r in store.read_many(requests))
        case "entry", (key,):
            slot = store._entries.get(key)
            entry = None if slot is None else slot.entry
            return None if entry is None else (tuple(entry.tokens.items()), entry.payload)
        case "pipeline", (commands,):
            return store.pipeline(commands)
        case "position", ():
            return store.read(None, ()).sequence
        case "write", (key, tokens, payload):
            return store.write(key, Entry(dict(tokens), payload), None)
        case "mark", (writer, tags):
            return store.mark(writer, tags, LEASE)
        case "release", (writer, tags):
            return store.release(writer, tags)
    raise AssertionError(request)


def _describe(request: Request) -> str:
    match request.name, request.args:
        case "read", (None, tags):
            return f"fetch the tokens of {' '.join(tags)}"
        case "read", (key, tags):
            return f"fetch {key!r} and the tokens of its tags" + (
                f" and of {' '.join(tags)}" * bool(tags)
            )
        case "pipeline", (commands,):
            return ", ".join(map(repr, commands))
        case "entry", (key,):
            return f"fetch {key!r}, without its tags"
        case "read_many", (requests,):
            return (
                f"fetch {' '.join(repr(key) for key, _ in requests)} and the tokens of their tags"
            )
        case "write", (key, tokens, payload):
            under = ", ".join(f"{tag}={int(token[8:])}" for tag, token in tokens)
            return f"store {key!r} = {payload.decode().splitlines()} under {under}"
        case "mark" | "release" as name, (_, tags):
            return f"{name} {' '.join(tags)}"
        case "select", (tags,):
            return f"SELECT {' '.join(tags)}"
        case "position", ():
            return "note the position of the sequence"
        case "snapshot", ():
            return "BEGIN with a snapshot"
    return "stop waiting, the other has landed"


# -- states that differ in nothing but the names of tokens ------------------------------------


def _renamed(state: State) -> State:
    """*state* with its tokens numbered in their order, generation by generation."""
    found = set(_TOKEN.findall(repr((state.store, state.processes))))
    generations: dict[str, int] = {}
    names = {}
    for number, old in enumerate(sorted(found), 1):
        generation = generations.setdefault(old[:8], len(generations))
        names[old] = f"{generation:08d}{number:016d}"
    if all(old == new for old, new in names.items()):
        return state if state.top == len(names) else state._replace(top=len(names))
    return state._replace(
        top=len(names),
        store=_with_names(state.store, names),
        processes=_with_names(state.processes, names),
    )


def _with_names(part: Any, names: Mapping[str, str]) -> Any:
    if type(part) is tuple:
        return tuple([_with_names(inner, names) for inner in part])
    return names.get(part, part) if type(part) is str else part
