"""``python -m benchmarks.anatomy``: where the time of this library's own hit goes."""

import argparse
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.machine import machine, versions
from benchmarks.places import places
from benchmarks.report.figures import duration
from benchmarks.report.tables import Table, show_tables
from benchmarks.workers import RemoteWorker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anatomy", description=__doc__)
    parser.add_argument("--times", type=int, default=2000, help="how often each is called")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    arguments = parser.parse_args()
    print(machine(), versions())
    with places() as where:
        for store in CONTENDERS["layercache"].stores:
            if store == "redis" and not where.redis:
                continue
            worker = RemoteWorker(where.assignment(arguments.database, "layercache", store))
            try:
                show_tables([_table(store, worker.do("anatomy", arguments.times))])
            finally:
                worker.close()


def _table(store: str, cases: dict[str, dict[str, float]]) -> Table:
    labels = list(dict.fromkeys(label for case in cases.values() for label in case if label))
    sums = {title: sum(case.values()) - case[""] for title, case in cases.items()}
    rows = [
        [label, *(_share(case.get(label, 0), sums[title]) for title, case in cases.items())]
        for label in labels
    ]
    whole = ["the whole, without stopwatches", *(duration(case[""]) for case in cases.values())]
    return Table(
        f"anatomy-{store}",
        f"A hit in the {store} store",
        ["", *cases],
        [("", rows), ("", [["sum", *map(duration, sums.values())], whole])],
        note="Medians. A stopwatch costs its joint, and the one around it, some tenths of a microsecond.",
    )


def _share(seconds: float, whole: float) -> Any:
    return f"{duration(seconds)} {seconds / whole:4.0%}"


if __name__ == "__main__":
    main()
