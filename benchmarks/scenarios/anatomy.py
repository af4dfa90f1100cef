"""Where the time of our own hit goes: a stopwatch at each joint, which stops while the next one runs."""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from time import perf_counter_ns
from typing import Any
from unittest import mock

from benchmarks.contenders import Contender
from benchmarks.scenarios import querysets
from benchmarks.scenarios.base import Call
from benchmarks.scenarios.joints import JOINTS, REST, resolved

CASES: dict[str, Callable[[Contender], Call]] = {
    "get by primary key": querysets.get,
    "20 rows": querysets.list_20,
    "100 rows, joined": querysets.list_100,
}


def anatomy(contender: Contender, store: str, times: int) -> dict[str, dict[str, float]]:
    """For each case, seconds by label; with the whole, measured without stopwatches, under ``""``."""
    return {title: _dissect(case(contender).once, store, times) for title, case in CASES.items()}


def _dissect(once: Callable[[], Any], store: str, times: int) -> dict[str, float]:
    for _ in range(200):
        once()
    whole = []
    for _ in range(times):
        begin = perf_counter_ns()
        once()
        whole.append(perf_counter_ns() - begin)
    stopwatch = _Stopwatch()
    with _joints(stopwatch, store):
        calls = [stopwatch.time(once) for _ in range(times)]
    seconds = {"": median(whole) / 1e9}
    for label in [REST, *(label for label, *_ in JOINTS)]:
        if any(label in call for call in calls):
            seconds[label] = median(call.get(label, 0) for call in calls) / 1e9
    return seconds


class _Stopwatch:
    """Adds up, for each label, the time that is not another label's."""

    def __init__(self) -> None:
        self._labels: list[str] = []
        self._since = 0
        self._sums: dict[str, int] = defaultdict(int)

    def time(self, once: Callable[[], Any]) -> dict[str, int]:
        self._sums = defaultdict(int)
        self._labels = [REST]
        self._since = perf_counter_ns()
        once()
        self._sums[REST] += perf_counter_ns() - self._since
        return self._sums

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            now = perf_counter_ns()
            self._sums[self._labels[-1]] += now - self._since
            self._labels.append(label)
            self._since = now
            try:
                return function(*args, **kwargs)
            finally:
                now = perf_counter_ns()
                self._sums[self._labels.pop()] += now - self._since
                self._since = now

        return timed


@contextmanager
def _joints(stopwatch: _Stopwatch, store: str) -> Iterator[None]:
    with ExitStack() as stack:
        for label, module, path in JOINTS:
            if module.endswith((".redis", ".wire")) and store != "redis":
                continue
            owner, name = resolved(module, path, store)
            function = stopwatch.wrap(label, getattr(owner, name))
            is_static = isinstance(vars(owner).get(name), staticmethod)
            stack.enter_context(
                mock.patch.object(owner, name, staticmethod(function) if is_static else function)
            )
        yield
