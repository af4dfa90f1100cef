"""One run: every worker measures the same thing in turn, round after round, in an order that changes.

So whatever the machine does meanwhile hits all alike, and a ratio is that of two neighbours in time.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.machine import machine, versions
from benchmarks.places import Places, places
from benchmarks.scenarios.base import TIMED, Timed
from benchmarks.workers import Assignment, RemoteWorker, WorkerFailed

Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long and how often. ``dependents`` maps the number of entries to how often it is tried."""

    rounds: int
    seconds: float
    dependents: dict[int, int]
    stampedes: int


QUICK = Effort(rounds=3, seconds=0.01, dependents={10: 3, 1000: 1}, stampedes=1)
USUAL = Effort(rounds=9, seconds=0.04, dependents={10: 7, 1000: 5, 10_000: 1}, stampedes=3)
DEEP = Effort(
    rounds=25, seconds=0.1, dependents={10: 15, 1000: 9, 10_000: 5, 100_000: 2}, stampedes=5
)


def run(effort: Effort, chosen: list[Timed], say: Say) -> dict[str, Any]:
    """Measure; the results as they are written to the file."""
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "effort": asdict(effort),
        "failures": [],
        "timings": [],
    }
    complete = len(chosen) == len(TIMED)
    with places() as where:
        results["missing"] = where.missing
        for missing in where.missing:
            say(f"Left out: {missing}")
        for database in where.databases:
            with _workers(where, database) as workers:
                once = complete and database == "sqlite"  # the database makes no difference to it
                if once:
                    _memory(workers, results, say)  # before there is anything else in it
                _Rounds(workers, effort, results, say).all(chosen)
                if complete:
                    _freshness(workers, results, say)
                if once:
                    _dependents(workers, effort, results, say)
                    _stampedes(workers, effort, results, say)
        results["rows"] = where.rows
    return results


@contextmanager
def _workers(where: Places, database: str) -> Iterator[list[RemoteWorker]]:
    workers: list[RemoteWorker] = []
    try:
        workers += [RemoteWorker(assignment) for assignment in where.assignments(database)]
        yield workers
    finally:
        for worker in workers:
            worker.close()


class _Rounds:
    def __init__(
        self, workers: list[RemoteWorker], effort: Effort, results: dict[str, Any], say: Say
    ) -> None:
        self._workers = workers
        self._effort = effort
        self._results = results
        self._say = say
        self._dice = random.Random(1)

    def all(self, chosen: list[Timed]) -> None:
        for scenario in chosen:
            self._say(f"{self._workers[0].assignment.database}: {scenario.group}, {scenario.title}")
            self._one(scenario)

    def _one(self, scenario: Timed) -> None:
        lines = {}
        for worker in self._workers:
            ready = attempt(self._results, worker, scenario.name, "prepare", scenario.name)
            if ready is not None:
                lines[worker] = _named(worker.assignment, scenario=scenario.name, **ready)
        rounds: dict[RemoteWorker, list[dict[str, float]]] = {worker: [] for worker in lines}
        for _ in range(self._effort.rounds):
            for worker in self._dice.sample(list(lines), len(lines)):
                self._measure(worker, scenario.name, lines, rounds)
        for worker, line in lines.items():
            for name in ("median", "mean"):
                line[name] = [float(f"{measured[name]:.4g}") for measured in rounds[worker]]
            line["calls"] = sum(int(measured["calls"]) for measured in rounds[worker])
            self._results["timings"].append(line)

    def _measure(
        self,
        worker: RemoteWorker,
        scenario: str,
        lines: dict[RemoteWorker, dict[str, Any]],
        rounds: dict[RemoteWorker, list[dict[str, float]]],
    ) -> None:
        seconds = self._effort.seconds
        measured = attempt(self._results, worker, scenario, "measure", scenario, seconds)
        if measured is None:
            del lines[worker]  # it is out of this scenario
        else:
            rounds[worker].append(measured)


def _dependents(
    workers: list[RemoteWorker], effort: Effort, results: dict[str, Any], say: Say
) -> None:
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    for entries, times in effort.dependents.items():
        say(f"a write, and {entries} entries that depend on it")
        for _ in range(times):
            for worker in workers:
                worker.send("dependents_fill", entries)
            applies = {worker: worker.receive() for worker in workers}
            for worker in workers:
                if applies[worker]:
                    key = (f"{worker.name} {worker.assignment.store}", entries)
                    line = lines.setdefault(
                        key, _named(worker.assignment, entries=entries, seconds=[])
                    )
                    line["seconds"].append(float(f"{worker.do('dependents_write'):.4g}"))
    results["dependents"] = list(lines.values())


def _memory(workers: list[RemoteWorker], results: dict[str, Any], say: Say) -> None:
    say("memory")
    results["memory"] = []
    in_process = [worker for worker in workers if worker.assignment.store != "redis"]
    for worker in in_process:
        worker.send("memory")  # all at once: nobody's clock runs
    for worker in in_process:
        _add_memory(results, worker, answer(results, worker, "memory"))
    for worker in workers:
        if worker not in in_process:  # one after the other: they share the server
            _add_memory(results, worker, attempt(results, worker, "memory", "memory"))


def _add_memory(results: dict[str, Any], worker: RemoteWorker, measured: Any) -> None:
    if measured is not None:
        results["memory"].append(_named(worker.assignment, bytes=measured))


def _stampedes(
    workers: list[RemoteWorker], effort: Effort, results: dict[str, Any], say: Say
) -> None:
    say("stampedes")
    results["stampedes"] = []
    for worker in workers:
        if worker.name != "floor":
            tried = [
                attempt(results, worker, "stampede", "stampede", turn)
                for turn in range(effort.stampedes)
            ]
            tried = [one for one in tried if one is not None]
            line = {name: [round(one[name], 3) for one in tried] for name in ("builds", "seconds")}
            results["stampedes"].append(_named(worker.assignment, **line))


def _freshness(workers: list[RemoteWorker], results: dict[str, Any], say: Say) -> None:
    say("freshness")
    results.setdefault("freshness", []).extend(
        _named(worker.assignment, fresh=fresh)
        for worker in workers
        if (fresh := attempt(results, worker, "freshness", "freshness")) is not None
    )


def attempt(
    results: dict[str, Any], worker: RemoteWorker, what: str, method: str, *arguments: Any
) -> Any:
    """What the worker answers; a failure is written down, and is ``None``."""
    worker.send(method, *arguments)
    return answer(results, worker, what)


def answer(results: dict[str, Any], worker: RemoteWorker, what: str) -> Any:
    """The second half of :func:`attempt`."""
    try:
        return worker.receive()
    except WorkerFailed as error:
        results["failures"].append(_named(worker.assignment, what=what, why=str(error)))
        return None


def _named(assignment: Assignment, **values: Any) -> dict[str, Any]:
    return {
        "contender": assignment.contender,
        "store": assignment.store,
        "database": assignment.database,
        **values,
    }
