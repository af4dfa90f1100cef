"""One contender, alone in a process: it measures what it is told to, one request a line.

Contenders patch Django; no two of them can be in one process.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from time import monotonic, perf_counter_ns, sleep
from typing import Any
from unittest import mock

from benchmarks.scenarios.base import TIMED, Call

#: Seconds until what must be a hit has to be one. (A store that has just begun may be distrusted for a while.)
_PATIENCE = 15


class Worker:
    """Answers requests; each is the name of a method, and its arguments."""

    def __init__(self) -> None:
        from django.conf import settings

        from benchmarks.contenders import CONTENDERS

        self._contender = CONTENDERS[settings.ASSIGNMENT["contender"]]()
        self._calls: dict[str, Call] = {}
        self._where = {scenario.name: scenario.where for scenario in TIMED}

    def migrate_and_seed(self) -> dict[str, int]:
        from django.core.management import call_command
        from django.db import connection

        from benchmarks.blog.seed import seed

        call_command("migrate", run_syncdb=True, verbosity=0)
        rows = seed()
        connection.close()  # so that the database can be copied
        return rows

    def prepare(self, scenario: str) -> dict[str, Any] | None:
        """Warm up; ``None`` if there is nothing to measure here. Says what one call asks for."""
        module, name = self._where[scenario].split(".")
        call = getattr(import_module(f"benchmarks.scenarios.{module}"), name)(self._contender)
        if call is None:
            return None
        self._calls[scenario] = call
        return {**_warm_up(call), "is_hit": call.is_hit}

    def measure(self, scenario: str, seconds: float) -> dict[str, float]:
        """One round: the median and the mean of one call, in seconds, and how many there were."""
        call = self._calls[scenario]
        for _ in range(3):
            call.once()
        times = _times(call.once, seconds)
        call.tidy()
        middle = sorted(times)[len(times) // 2]
        return {
            "median": middle / 1e9,
            "mean": sum(times) / len(times) / 1e9,
            "calls": len(times),
        }

    def dependents_fill(self, entries: int) -> bool:
        from benchmarks.scenarios import dependents

        applies = dependents.applies(self._contender)
        if applies:
            dependents.fill(self._contender, entries)
        return applies

    def dependents_write(self) -> float:
        from benchmarks.scenarios import dependents

        return dependents.write()

    def memory(self) -> dict[str, float] | None:
        from benchmarks.scenarios import memory

        if not self._contender.caches:
            return None
        for ask in memory.KINDS.values():
            # What is made once (connections, compiled things) does not count; and it has to be
            # stored, which a store that has just begun may not do at once.
            _warm_up(Call(partial(ask, self._contender, 2001), is_hit=True))
        return {kind: memory.bytes_per_entry(self._contender, kind) for kind in memory.KINDS}

    def stampede(self, turn: int) -> dict[str, float]:
        from benchmarks.scenarios.stampede import stampede

        return stampede(self._contender, turn)

    def freshness(self) -> dict[str, bool] | None:
        from benchmarks.scenarios import freshness

        if not self._contender.caches or self._contender.name == "floor":
            return None
        return freshness.check(self._contender)

    def anatomy(self, times: int) -> dict[str, dict[str, float]]:
        from django.conf import settings

        from benchmarks.scenarios.anatomy import anatomy

        sleep(2)  # until a store that has just begun is trusted
        return anatomy(self._contender, settings.ASSIGNMENT["store"], times)


def _warm_up(call: Call) -> dict[str, float]:
    """Call until a whole pass is hits, if they are to be hits; returns what one call asks for."""
    end = monotonic() + _PATIENCE
    while True:
        for _ in range(call.warm_up):
            call.once()
        asked = _asked(call.once, call.warm_up)
        call.tidy()
        if not call.is_hit or not asked["queries"]:
            return asked
        if monotonic() > end:
            raise RuntimeError(f"This should be a hit, and runs {asked['queries']} queries.")
        sleep(0.1)


def _asked(once: Callable[[], Any], times: int) -> dict[str, float]:
    """How many queries a call runs, and how many round trips to Redis it makes."""
    from django.db import connection
    from redis.connection import AbstractConnection

    from django_layercache.stores.wire import Wire

    queries: list[None] = []
    trips: list[None] = []
    ways = ((AbstractConnection, "send_packed_command"), (Wire, "exchange"))  # redis-py's, and ours

    def note_query(execute: Any, *rest: Any) -> Any:
        queries.append(None)
        return execute(*rest)

    def noting(go: Callable[..., Any]) -> Callable[..., Any]:
        def note_trip(*args: Any, **kwargs: Any) -> Any:
            trips.append(None)
            return go(*args, **kwargs)

        return note_trip

    with ExitStack() as around:
        around.enter_context(connection.execute_wrapper(note_query))
        for owner, name in ways:
            noted = noting(getattr(owner, name))
            around.enter_context(mock.patch.object(owner, name, noted))
        for _ in range(times):
            once()
    return {"queries": len(queries) / times, "trips": len(trips) / times}


def _times(once: Callable[[], Any], seconds: float) -> list[int]:
    """Nanoseconds of each call, for as long as *seconds* last. Collections of garbage are part of it."""
    clock, times = perf_counter_ns, []
    end = clock() + int(seconds * 1e9)
    after = 0
    while after < end or len(times) < 3:
        before = clock()
        once()
        after = clock()
        times.append(after - before)
    return times


def main() -> None:
    """Read requests until there are no more."""
    # What anything prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    django.setup()
    worker = Worker()
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            answer = {"value": getattr(worker, method)(*arguments)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
