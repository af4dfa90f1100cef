"""The figures in the documentation are those of the published results."""

import json

import pytest

from benchmarks.report import published, tables

RESULTS = json.loads(published.RESULTS.read_text())
FILES = published.files(RESULTS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_the_documentation_shows_is_made_of_the_results(path):
    assert path.read_text() == FILES[path]


def test_the_documentation_shows_nothing_else():
    assert set(published.DOCS.iterdir()) == set(FILES)


def test_the_page_shows_all_of_it():
    page = (published.DOCS.parent / "costs.md").read_text()
    assert [path.name for path in FILES if f"_costs/{path.name}" not in page] == []


def test_the_page_itself_has_no_figures():
    page = (published.DOCS.parent / "costs.md").read_text()
    assert [unit for unit in ("µs", " ms", "×", "%") if unit in page] == []


def test_nothing_failed_was_stale_or_was_left_out():
    assert tables.complaints(RESULTS) + RESULTS["missing"] == []


def test_the_machine_is_described_and_not_named():
    assert set(RESULTS["machine"]) == {"processor", "cores", "system", "load before"}
