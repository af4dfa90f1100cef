"""Two drawings, as SVG that a browser shows in its own light or dark."""

from collections.abc import Iterable
from html import escape
from math import ceil, floor, log10
from statistics import median
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.report.figures import Timings, duration
from benchmarks.scenarios.base import TIMED

#: Told apart with every kind of sight (Okabe and Ito); ours is the strongest.
_COLOURS = {
    "plain": "#999999",
    "floor": "#56b4e9",
    "django": "#009e73",
    "cachalot": "#cc79a7",
    "cacheops": "#e69f00",
    "layercache": "#d55e00",
}
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #444 } .grid { stroke: #8884 } .title { font-weight: 600 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }
"""
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 800, 250, 30, 62, 30


class _Axis:
    """A logarithmic scale from *low* to *high*, in whole decades, over the pixels from *begin* to *end*."""

    def __init__(self, values: Iterable[float], begin: float, end: float) -> None:
        values = list(values)
        self._low = floor(log10(min(values)))
        self._high = max(ceil(log10(max(values))), self._low + 1)
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        part = (log10(value) - self._low) / (self._high - self._low)
        return round(self._begin + part * (self._end - self._begin), 1)

    @property
    def decades(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def hits(results: dict[str, Any], store: str = "redis") -> str | None:
    """How long a hit takes: a row for each scenario, a dot for each contender."""
    timings = Timings(results)
    database = timings.databases[-1]
    scenarios = [scenario for scenario in TIMED if scenario.group in {"querysets", "layers"}]
    dots = {
        (scenario, name): cell.seconds
        for scenario in scenarios
        for name in _COLOURS
        if (
            cell := timings.cell(
                database, scenario.name, name, "none" if name == "plain" else store
            )
        )
    }
    if not dots:
        return None
    height = _TOP + _ROW * len(scenarios) + 30
    axis = _Axis(dots.values(), _LEFT, _WIDTH - _RIGHT)
    parts = [*_vertical_grid(axis, height), *_legend({name for _, name in dots})]
    for number, scenario in enumerate(scenarios):
        y = _TOP + _ROW * number + _ROW / 2
        parts.append(_text(_LEFT - 14, y + 4, scenario.title, "end"))
        parts += [
            _dot(axis.at(seconds), y, name, seconds)
            for name in _COLOURS
            if (seconds := dots.get((scenario, name)))
        ]
    return _svg("How long a hit takes", height, parts)


def dependents(results: dict[str, Any]) -> str | None:
    """What a write costs, against the number of entries that depend on the row."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for line in results.get("dependents", []):
        point = (line["entries"], median(line["seconds"]))
        lines.setdefault((line["contender"], line["store"]), []).append(point)
    points = [point for line in lines.values() for point in line]
    if len({entries for entries, _ in points}) < 2:
        return None
    bottom = _TOP + 240
    x = _Axis([entries for entries, _ in points], 90, _WIDTH - 60)
    y = _Axis([seconds for _, seconds in points], bottom, _TOP + 10)
    parts = [*_legend({name for name, _ in lines}), *_horizontal_grid(y)]
    parts += [
        _text(x.at(n), bottom + 22, f"{n:,.0f}".replace(",", " "), "middle") for n in x.decades
    ]
    parts.append(
        _text(
            _WIDTH / 2, bottom + 44, "entries that depend on the row (dashed: with Redis)", "middle"
        )
    )
    for (name, store), line in lines.items():
        parts += _line(
            [(x.at(entries), y.at(seconds)) for entries, seconds in sorted(line)], name, store
        )
    return _svg("What a save() costs", bottom + 56, parts)


def _svg(title: str, height: float, parts: list[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(names: set[str]) -> list[str]:
    parts, x = [], 20.0
    for name in [name for name in _COLOURS if name in names]:
        title = CONTENDERS[name].title
        parts += [
            f'<circle cx="{x}" cy="20" r="6" fill="{_COLOURS[name]}"/>',
            _text(x + 11, 24, title),
        ]
        x += 42 + 7.2 * len(title)
    return parts


def _dot(x: float, y: float, name: str, seconds: float) -> str:
    label = escape(f"{CONTENDERS[name].title}: {duration(seconds)}")
    radius = 7 if name == "layercache" else 5
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius}" fill="{_COLOURS[name]}"><title>{label}</title></circle>'


def _vertical_grid(axis: _Axis, height: float) -> list[str]:
    parts = []
    for value in axis.decades:
        x = axis.at(value)
        parts.append(f'<path class="grid" d="M{x:g} {_TOP}V{height - 24:g}"/>')
        parts.append(_text(x, height - 6, duration(value), "middle"))
    return parts


def _horizontal_grid(axis: _Axis) -> list[str]:
    parts = []
    for value in axis.decades:
        y = axis.at(value)
        parts.append(f'<path class="grid" d="M90 {y:g}H{_WIDTH - 60}"/>')
        parts.append(_text(80, y + 4, duration(value), "end"))
    return parts


def _line(points: list[tuple[float, float]], name: str, store: str) -> list[str]:
    colour, dashes = _COLOURS[name], ' stroke-dasharray="5 4"' if store == "redis" else ""
    path = "L".join(f"{x:g} {y:g}" for x, y in points)
    parts = [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5"{dashes}/>']
    parts += [f'<circle cx="{x:g}" cy="{y:g}" r="3.5" fill="{colour}"/>' for x, y in points]
    return parts
