"""Neighbours and the dotted world map. Plain arithmetic: no models, no caching."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

#: Degrees of longitude and latitude that one dot of the map stands for.
DOT_DEGREES = 2.5

Point = tuple[str, float, float]  # (code, latitude, longitude)


def nearest(points: Sequence[Point], count: int) -> Iterable[tuple[str, list[str]]]:
    """For each point its code and those of the `count` closest others, nearest first.

    Looks only at the one-degree cells around a point, so lonely places get fewer neighbours than asked for.
    """
    cells: dict[tuple[int, int], list[Point]] = defaultdict(list)
    for point in points:
        cells[_cell(point)].append(point)
    for point in points:
        code, lat, lon = point
        shrink = math.cos(math.radians(lat)) ** 2
        candidates = [
            ((other[1] - lat) ** 2 + (other[2] - lon) ** 2 * shrink, other[0])
            for other in _around(cells, point, enough=count)
            if other[0] != code
        ]
        candidates.sort()
        yield code, [other_code for _, other_code in candidates[:count]]


def _cell(point: Point) -> tuple[int, int]:
    return math.floor(point[1]), math.floor(point[2])


def _around(cells: dict[tuple[int, int], list[Point]], point: Point, enough: int) -> list[Point]:
    row, column = _cell(point)
    found: list[Point] = []
    for reach in (1, 3):
        found = [
            other
            for y in range(row - reach, row + reach + 1)
            for x in range(column - reach, column + reach + 1)
            if (y, x) in cells
            for other in cells[y, x]
        ]
        if len(found) > enough:
            break
    return found


def dots(coordinates: Iterable[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """The world as dots: (x, y, radius) in degrees, x from 0 (180° W) to 360, y from 0 (north pole) to 180.

    Coordinates are (latitude, longitude). A dot grows with the logarithm of what is inside its square.
    """
    crowd: dict[tuple[int, int], int] = defaultdict(int)
    for latitude, longitude in coordinates:
        crowd[int((longitude + 180) // DOT_DEGREES), int((90 - latitude) // DOT_DEGREES)] += 1
    return [
        (
            round((column + 0.5) * DOT_DEGREES, 2),
            round((row + 0.5) * DOT_DEGREES, 2),
            round(min(1.25, 0.45 + 0.2 * math.log(many)), 2),
        )
        for (column, row), many in sorted(crowd.items())
    ]
