"""The tables of a run: made once, printed by rich in the terminal and as Markdown in the documentation."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.report.figures import Cell, Timings, digits, duration
from benchmarks.scenarios.base import GROUPS, RATIOS, STAMPEDE, TIMED

OURS = "layercache"
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_STORES = {"local": "in the process", "redis": "Redis"}
_NOTHING = "–"
_WIDTH = 150  # of the widest table


@dataclass
class Table:
    """*sections* are titled groups of rows; a row's first cell is its name. *name* is for files."""

    name: str
    title: str
    columns: list[str]
    sections: list[tuple[str, list[list[str]]]] = field(default_factory=list)
    note: str = ""

    @property
    def rows(self) -> Iterator[list[str]]:
        for _, rows in self.sections:
            yield from rows


def all_tables(results: dict[str, Any]) -> list[Table]:
    """Every table that the results have figures for."""
    made = [*_timings(results)]
    for name, make in (
        ("timings", _trips),
        ("dependents", _dependents),
        ("memory", _memory),
        ("stampedes", _stampedes),
        ("freshness", _freshness),
    ):
        if results.get(name):
            made.append(make(results))
    return made


def about(results: dict[str, Any]) -> str:
    """The machine and the versions, in one paragraph."""
    machine, versions = results["machine"], results["versions"]
    rows = ", ".join(f"{count} rows of {name}" for name, count in results.get("rows", {}).items())
    programs = ", ".join(f"{name} {version}" for name, version in versions.items())
    effort = results["effort"]
    return (
        f"{results['date']}; {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"load before: {machine['load before']}. {programs}. {rows}. "
        f"{effort['rounds']} rounds of {effort['seconds']} s each."
    )


def complaints(results: dict[str, Any]) -> list[str]:
    """What must not be: this library failed somewhere, or was stale."""
    found = [
        f"{line['what']} on {line['database']}, store {line['store']}: {_last_line(line['why'])}"
        for line in results["failures"]
        if line["contender"] == OURS
    ]
    for line in results.get("freshness", []):
        if line["contender"] == OURS:
            stale = [way for way, fresh in line["fresh"].items() if not fresh]
            found += [f"stale on {line['database']}, store {line['store']}: {way}" for way in stale]
    return found


def show(results: dict[str, Any]) -> None:
    """Print everything."""
    console = _console()
    console.print(f"\n{about(results)}\n", highlight=False)
    show_tables(all_tables(results))
    for line in results["failures"]:
        name = CONTENDERS[line["contender"]].title
        where = f"{line['what']} on {line['database']}, store {line['store']}"
        console.print(f"FAILED: {name}, {where}: {_last_line(line['why'])}", markup=False)
    for missing in results["missing"]:
        console.print(f"LEFT OUT: {missing}", markup=False)
    for complaint in complaints(results):
        console.print(f"WRONG: {complaint}", style="bold red", markup=False)


def show_tables(tables: list[Table]) -> None:
    """Print *tables*, as wide as they are: the lines of a narrow terminal break, rather than lose figures."""
    console = _console()
    for table in tables:
        console.print(_as_rich(table))
        console.print()


def _console() -> Any:
    from rich.console import Console

    return Console(width=max(Console().width, _WIDTH))


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def _as_rich(table: Table) -> Any:
    from rich.markup import escape
    from rich.table import Table as RichTable

    made = RichTable(
        title=table.title, caption=table.note or None, title_justify="left", caption_justify="left"
    )
    for number, column in enumerate(table.columns):
        made.add_column(column, justify="right" if number else "left", no_wrap=True)
    for title, rows in table.sections:
        if title:
            made.add_row(f"[bold]{escape(title)}[/]")
        for row in rows:
            made.add_row(*map(escape, row))
        made.add_section()
    return made


# -- one function for each kind -----------------------------------------------------------------


def _timings(results: dict[str, Any]) -> Iterator[Table]:
    timings = Timings(results)
    for database in timings.databases:
        for store, place in _STORES.items():
            names = [
                name for name, kind in CONTENDERS.items() if {"none", store} & set(kind.stores)
            ]
            columns = ["", *(CONTENDERS[name].title for name in names)]
            title = f"{_DATABASES[database]}, entries kept {_in(place)}"
            table = Table(f"{database}-{store}", title, columns, note=RATIOS)
            for group, title in GROUPS.items():
                rows = [
                    [scenario.title, *map(_cell, cells)]
                    for scenario in TIMED
                    if scenario.group == group
                    and any(cells := _cells(timings, database, scenario.name, names, store))
                ]
                if rows:
                    table.sections.append((title, rows))
            if any(True for _ in table.rows):
                yield table


def _in(place: str) -> str:
    return place if place.startswith("in ") else f"in {place}"


def _cells(
    timings: Timings, database: str, scenario: str, names: list[str], store: str
) -> list[Cell | None]:
    return [
        timings.cell(database, scenario, name, "none" if name == "plain" else store)
        for name in names
    ]


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return _NOTHING
    if cell.ratio is None:
        return f"{duration(cell.seconds)} ±{cell.spread:.0%}"
    return f"{duration(cell.seconds)} {digits(cell.ratio)}× ±{cell.spread:.0%}"


def _trips(results: dict[str, Any]) -> Table:
    lines = [line for line in results["timings"] if line["store"] == "redis" and "trips" in line]
    names = [name for name in CONTENDERS if any(line["contender"] == name for line in lines)]
    trips = {(line["scenario"], line["contender"]): line["trips"] for line in lines}
    table = Table(
        "trips",
        "Round trips to Redis for each call",
        ["", *(CONTENDERS[name].title for name in names)],
    )
    for group, title in GROUPS.items():
        rows = [
            [scenario.title, *(_number(trips.get((scenario.name, name))) for name in names)]
            for scenario in TIMED
            if scenario.group == group and any((scenario.name, name) in trips for name in names)
        ]
        if rows:
            table.sections.append((title, rows))
    return table


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:g}" if value < 10 else digits(value)


def _dependents(results: dict[str, Any]) -> Table:
    lines = results["dependents"]
    numbers = sorted({line["entries"] for line in lines})
    table = Table(
        "dependents",
        "A save(), and the entries that depend on the row",
        ["", *(f"{number:,} entries".replace(",", " ") for number in numbers)],
    )
    by_place: dict[tuple[str, str], dict[int, str]] = {}
    for line in lines:
        cells = by_place.setdefault((line["contender"], line["store"]), {})
        cells[line["entries"]] = duration(median(line["seconds"]))
    rows = [
        [_named(*place), *(cells.get(number, _NOTHING) for number in numbers)]
        for place, cells in by_place.items()
    ]
    table.sections.append(("", rows))
    return table


def _memory(results: dict[str, Any]) -> Table:
    kinds = list(results["memory"][0]["bytes"])
    rows = [
        [
            _named(line["contender"], line["store"]),
            *(f"{line['bytes'][kind]:,.0f} B".replace(",", " ") for kind in kinds),
        ]
        for line in sorted(results["memory"], key=lambda line: line["store"])
    ]
    return Table(
        "memory", "Memory for each entry, bookkeeping included", ["", *kinds], [("", rows)]
    )


def _stampedes(results: dict[str, Any]) -> Table:
    rows = [
        [
            _named(line["contender"], line["store"]),
            str(round(median(line["builds"]))),
            duration(median(line["seconds"])),
        ]
        for line in results["stampedes"]
        if line["builds"]
    ]
    threads, slow = STAMPEDE["threads"], STAMPEDE["seconds"]
    title = f"{threads} threads ask for the same result of a query that takes {slow} s"
    return Table("stampedes", title, ["", "queries run", "until all have it"], [("", rows)])


def _freshness(results: dict[str, Any]) -> Table:
    lines = results["freshness"]
    names = list(dict.fromkeys(line["contender"] for line in lines))
    rows = [
        [
            way,
            *(
                _verdict([line["fresh"][way] for line in lines if line["contender"] == name])
                for name in names
            ),
        ]
        for way in lines[0]["fresh"]
    ]
    return Table(
        "freshness",
        "Is the next read fresh, after …",
        ["", *(CONTENDERS[name].title for name in names)],
        [("", rows)],
        note="With every store and every database. “varies”: not with all of them.",
    )


def _verdict(fresh: list[bool]) -> str:
    return "fresh" if all(fresh) else "varies" if any(fresh) else "STALE"


def _named(contender: str, store: str) -> str:
    title = CONTENDERS[contender].title
    return title if store == "none" else f"{title}, {_STORES[store]}"
