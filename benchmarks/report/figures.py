"""What the rounds say: medians, spreads, and ratios of neighbours in time."""

from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from benchmarks.scenarios.base import TIMED

Line = dict[str, Any]
_WRITES = {scenario.name for scenario in TIMED if scenario.group == "writes"}


@dataclass(frozen=True)
class Cell:
    """One contender at one scenario.

    *seconds* is the median over the rounds of each round's median. *ratio* is that of plain
    Django's time to it (of it to plain Django's, for writes), taken round by round; *spread* is
    half of the distance between the quartiles of these, as a part of their median.
    """

    seconds: float
    ratio: float | None
    spread: float


class Timings:
    """The timed lines of a run, to be asked for by name."""

    def __init__(self, results: dict[str, Any]) -> None:
        self._lines: dict[tuple[str, str, str, str], Line] = {
            (line["database"], line["scenario"], line["contender"], line["store"]): line
            for line in results["timings"]
        }

    @property
    def databases(self) -> list[str]:
        return list(dict.fromkeys(database for database, *_ in self._lines))

    def cell(self, database: str, scenario: str, contender: str, store: str) -> Cell | None:
        line = self._lines.get((database, scenario, contender, store))
        if line is None:
            return None
        plain = self._lines.get((database, scenario, "plain", "none"))
        seconds = median(line["median"])
        if plain is None or plain is line:
            return Cell(seconds, None, spread(line["median"]))
        pairs = zip(plain["median"], line["median"], strict=True)
        ratios = [own / bare if scenario in _WRITES else bare / own for bare, own in pairs]
        return Cell(seconds, median(ratios), spread(ratios))


def spread(values: list[float]) -> float:
    """Half of the interquartile range, as a part of the median."""
    if len(values) < 2:
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / median(values)


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{digits(seconds / size)} {unit}"
    raise AssertionError


def digits(number: float) -> str:
    """About two significant digits, and never an exponent."""
    if number >= 99.5:
        return f"{number:,.0f}".replace(",", " ")
    return (
        f"{number:.0f}"
        if number >= 9.95
        else f"{number:.1f}"
        if number >= 0.95
        else f"{number:.2f}"
    )
