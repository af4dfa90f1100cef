"""The tables of the demo in the terminal. Takes results, prints them, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from showcase.experiments import Bench, Result, Verdict, label
from showcase.timings import Timing

SIGNS = {
    Verdict.STAYED: Text("·", "green"),
    Verdict.REBUILT: Text("●", "bold yellow"),
    Verdict.REBUILT_SAME: Text("○", "yellow"),
    Verdict.BYPASSED: Text("–", "dim"),
    Verdict.STALE: Text("STALE", "bold white on red"),
}


def pages_table(visitor: Sequence[Timing], member: Sequence[Timing]) -> Table:
    """Each page, for a visitor and for a member."""
    table = Table(title="Pages, in ms (medians)", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("page")
    for heading in ("off", "cold", "warm", "×"):
        table.add_column(
            f"visitor\n{heading}" if heading == "off" else f"\n{heading}", justify="right"
        )
    for heading in ("off", "cold", "warm", "×"):
        table.add_column(
            f"member\n{heading}" if heading == "off" else f"\n{heading}", justify="right"
        )
    for one, other in zip(visitor, member, strict=True):
        table.add_row(one.task.name, *_figures(one), *_figures(other))
    return table


def layers_table(timings: Sequence[Timing]) -> Table:
    """Each layer alone."""
    table = Table(title="Single layers, in ms (medians)", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("layer")
    table.add_column("what")
    for heading in ("off", "cold", "warm", "×"):
        table.add_column(heading, justify="right")
    for timing in timings:
        table.add_row(timing.task.kind, timing.task.name, *_figures(timing))
    return table


def _figures(timing: Timing) -> tuple[str, str, str, Text]:
    ratio = f"{timing.ratio:.0f}" if timing.ratio >= 10 else f"{timing.ratio:.1f}"
    return (
        f"{timing.off:.1f}",
        f"{timing.cold:.1f}",
        f"{timing.warm:.2f}",
        Text(ratio, "bold green" if timing.ratio >= 1 else "bold red"),
    )


def print_experiments(console: Console, bench: Bench, results: Sequence[Result]) -> None:
    """Which edit made which probe be rebuilt."""
    table = Table(
        title="What each edit made the layers rebuild", box=box.SIMPLE_HEAD, title_justify="left"
    )
    table.add_column("")
    for number, _ in enumerate(results, start=1):
        table.add_column(str(number), justify="center")
    kind = ""
    for probe in bench.probes:
        if probe.kind != kind and kind:
            table.add_section()
        kind = probe.kind
        table.add_row(label(probe), *(SIGNS[result.verdicts[label(probe)]] for result in results))
    console.print(table)
    console.print(
        Text.assemble(
            *(
                "  ",
                SIGNS[Verdict.REBUILT],
                " rebuilt   ",
                SIGNS[Verdict.REBUILT_SAME],
                " rebuilt, same answer   ",
            ),
            *(SIGNS[Verdict.STAYED], " stayed: still right, from its store"),
        )
    )
    console.print()
    for number, result in enumerate(results, start=1):
        _print_edit(console, number, result)


def _print_edit(console: Console, number: int, result: Result) -> None:
    state = Text(" ✗ wrong", "bold red") if result.failures else Text(" ✓ fresh", "green")
    console.print(
        Text.assemble(
            *(f" {number:>2}  ", (result.edit.title, "bold"), ": "),
            *(
                (f"{len(result.rebuilt)} rebuilt", "yellow"),
                ", ",
                (f"{len(result.stayed)} stayed", "green"),
                state,
            ),
        )
    )
    console.print(Text(f"     {result.edit.code}", "dim"), soft_wrap=True)
    for failure in result.failures:
        console.print(Text(f"     {failure}", "red"))
