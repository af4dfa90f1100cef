"""What is printed about the runs."""

from collections import Counter
from typing import Any

__all__ = ["Report"]

#: Of a group; ``None`` where plain Django was not asked, because nothing fails.
Results = dict[str, Any]

#: What no cache can do, or ours does not want to.
EXCUSED = {
    # A count that another test of the class has asked before.
    "test_runner.test_debug_sql.TestDebugSQL.test_output_verbose",
    # That an assertion fails where there are fewer queries; under this runner it holds.
    "test_utils.tests.AssertNumQueriesContextManagerTests.test_failure",
    # That nothing at all is left to the collector: with a shared store, a thread looks into the outbox once a second,
    # and the connection that it has closed is a cycle of Django's.
    "select_related.tests.SelectRelatedTests.test_select_related_memory_leak",
}


class Report:
    """The sums. ``found`` are the defects: what plain Django passes and fails here, and every wrong answer."""

    def __init__(self, most: int) -> None:
        self.found: list[str] = []
        self._most = most
        self._sums: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, plain: Results | None, cached: Results) -> None:
        self._sums["tests"] += cached["run"] or 0
        self._sums["skipped"] += cached["skipped"]
        self._sums["failures of plain Django, too"] += len(_both(plain, cached))
        self._counts.update(cached["counts"])
        self._reasons.update(cached["reasons"])
        if cached["run"] is None:
            self.found.append(f"no results: {cached['wrong'][0]}")
            return
        self.found += [f"wrong: {text}" for text in cached["wrong"]]
        self.found += [
            f"fails: {test}\n{_last_lines(text)}"
            for test, text in cached["failures"].items()
            if test in _new(plain, cached)
        ]

    def line(self, plain: Results | None, cached: Results) -> str:
        """One group."""
        new = _new(plain, cached)
        wrong = len(cached["wrong"])
        return (
            f"{cached['seconds']:5.0f} s  {cached['run'] or 0:5} tests  "
            f"{len(new)} new failures  {wrong} wrong"
        )

    def show(self) -> None:
        print()
        for text in self.found:
            print(text)
        print(", ".join(f"{name}: {number}" for name, number in self._sums.items()))
        print(f"new failures and wrong answers: {len(self.found)}\n")
        for name, number in sorted(self._counts.items()):
            print(f"{number:8}  {name}")
        served = self._counts["second time: served"]
        asked = served + self._counts["second time: asked"]
        if asked:
            print(f"{served / asked:8.1%}  of the second times were served, where they might be")
        print()
        for reason, number in self._reasons.most_common(self._most):
            print(f"{number:8}  {reason}")


def _both(plain: Results | None, cached: Results) -> set[str]:
    return set() if plain is None else set(plain["failures"].keys() & cached["failures"].keys())


def _new(plain: Results | None, cached: Results) -> set[str]:
    return {
        test
        for test, text in cached["failures"].items()
        if test not in _both(plain, cached) and test not in EXCUSED and not _misses_a_query(text)
    }


def _misses_a_query(text: str) -> bool:
    """Whether the test wanted to see the statement of what came from the cache."""
    return "captured_queries[" in text and "IndexError" in text


def _last_lines(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-6:])
