"""``python -m benchmarks``; see README.md."""

import argparse
import json
import sys
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.report import published, tables
from benchmarks.run import DEEP, QUICK, USUAL, run
from benchmarks.scenarios.base import TIMED, Timed

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    arguments = _arguments()
    file = arguments.show
    results = json.loads(Path(file).read_text()) if file else _measure(arguments)
    tables.show(results)
    if arguments.publish:
        published.publish(results)
    return 1 if tables.complaints(results) else 0


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    effort = QUICK if arguments.quick else DEEP if arguments.deep else USUAL
    begin = monotonic()

    def say(text: str) -> None:
        print(f"{monotonic() - begin:5.0f} s  {text}", file=sys.stderr)

    results = run(effort, _chosen(arguments.only), say)
    results["seconds"] = round(monotonic() - begin)
    latest = RESULTS / "latest.json"
    latest.write_text(published.written(results))
    say(f"done: {latest}")
    return results


def _chosen(names: list[str] | None) -> list[Timed]:
    if not names:
        return TIMED
    return [scenario for scenario in TIMED if {scenario.name, scenario.group} & set(names)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="less than a minute, and rough")
    effort.add_argument("--deep", action="store_true", help="as long as it takes")
    names = ", ".join(scenario.name for scenario in TIMED)
    parser.add_argument(
        "--only", nargs="+", metavar="SCENARIO", help=f"scenarios or groups: {names}"
    )
    parser.add_argument("--show", metavar="FILE", help="print the results of an earlier run")
    parser.add_argument(
        "--publish", action="store_true", help="make them those of the documentation"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
