"""What the documentation shows: the results of one run, and the tables and drawings made of them.

``tests/benchmarks`` makes them again, and fails where they are not what the results say.
"""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.report import drawings
from benchmarks.report.tables import Table, about, all_tables, complaints

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "published.json"
DOCS = ROOT / "docs" / "explanation" / "_costs"


class NotFit(Exception):
    """Results that must not be shown as this library's."""


def publish(results: dict[str, Any]) -> None:
    """Write them where the documentation finds them."""
    wrong = [*results["missing"], *complaints(results)]
    if wrong or "freshness" not in results:
        raise NotFit(f"Not published: {'; '.join(wrong) or 'not all of it was measured'}")
    RESULTS.write_text(written(_shortened(results)))
    for path, text in files(json.loads(RESULTS.read_text())).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def written(results: dict[str, Any]) -> str:
    """JSON with a line for each thing that was measured."""
    parts = []
    for name, value in results.items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def files(results: dict[str, Any]) -> dict[Path, str]:
    """What is made of the results, by where it belongs."""
    made = {DOCS / "about.txt": about(results) + "\n"}
    for table in all_tables(results):
        made[DOCS / f"{table.name}.txt"] = markdown(table)
    for name in ("hits", "dependents"):
        drawing = getattr(drawings, name)(results)
        if drawing:
            made[DOCS / f"{name}.svg"] = drawing
    return made


def markdown(table: Table) -> str:
    """*table* with its title above it."""
    lines = [
        f"**{table.title}**",
        "",
        _row(table.columns),
        _row(["---", *["---:"] * (len(table.columns) - 1)]),
    ]
    for title, rows in table.sections:
        if title:
            lines.append(_row([f"*{title}*", *[""] * (len(table.columns) - 1)]))
        lines += [_row(row) for row in rows]
    if table.note:
        lines += ["", table.note]
    return "\n".join([*lines, ""])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(map(_in_two_lines_at_most, cells))} |"


def _in_two_lines_at_most(cell: str) -> str:
    """A narrow column breaks a cell between its time and its ratio, and nowhere else."""
    return re.sub(r"(?<=\d) (?=µs|ms|s\b|B\b|\d{3}\b|±)|(?<=×) (?=±)", "\u00a0", cell)


def _shortened(results: dict[str, Any]) -> dict[str, Any]:
    """Without the tracebacks of what failed: they name places on this machine."""
    failures = [
        {**failure, "why": failure["why"].strip().splitlines()[-1]}
        for failure in results["failures"]
    ]
    return {**results, "failures": failures}
