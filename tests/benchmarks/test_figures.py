"""What the benchmarks make of their rounds."""

import pytest

from benchmarks.report import drawings, published, tables
from benchmarks.report.figures import Timings, digits, duration, spread


def line(contender, *rounds, scenario="get", store="local"):
    return {
        "contender": contender,
        "store": store,
        "database": "sqlite",
        "scenario": scenario,
        "median": list(rounds),
    }


def timings(*lines):
    return Timings({"timings": list(lines)})


def cell(*lines, scenario="get"):
    return timings(*lines).cell("sqlite", scenario, "layercache", "local")


def test_a_ratio_is_that_of_neighbours_in_time():
    slow_machine_in_the_second_round = (
        line("plain", 1.0, 10.0, 1.0, store="none"),
        line("layercache", 0.5, 5.0, 0.5),
    )
    assert cell(*slow_machine_in_the_second_round).ratio == 2
    assert cell(*slow_machine_in_the_second_round).spread == 0


def test_a_write_is_compared_the_other_way_round():
    lines = (
        line("plain", 1.0, store="none", scenario="save"),
        line("layercache", 1.5, scenario="save"),
    )
    assert cell(*lines, scenario="save").ratio == 1.5


def test_plain_django_is_not_compared_with_itself():
    plain = timings(line("plain", 1.0, 2.0, store="none"))
    assert plain.cell("sqlite", "get", "plain", "none").ratio is None


def test_what_was_not_measured_has_no_cell():
    assert cell(line("plain", 1.0, store="none")) is None


def test_a_spread_is_half_of_what_is_between_the_quartiles():
    assert spread([90, 95, 100, 105, 110]) == pytest.approx(0.05)
    assert spread([1.0]) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    ((1.5, "1.5 s"), (0.0123, "12 ms"), (250e-6, "250 µs"), (1.5e-6, "1.5 µs"), (2e-7, "0.20 µs")),
)
def test_a_duration_has_a_unit_that_suits_it(seconds, text):
    assert duration(seconds) == text


def test_numbers_have_two_digits_that_count():
    assert [digits(number) for number in (0.123, 1.23, 12.3, 1234)] == [
        "0.12",
        "1.2",
        "12",
        "1 234",
    ]


RESULTS = {
    "timings": [
        line("plain", 4e-4, store="none"),
        line("layercache", 1e-4),
        line("layercache", 2e-4, store="redis"),
    ],
    "failures": [],
    "missing": [],
    "freshness": [
        {
            "contender": "layercache",
            "store": "local",
            "database": "sqlite",
            "fresh": {"save()": True, "update()": False},
        }
    ],
}


def test_a_stale_read_of_ours_is_wrong():
    assert tables.complaints(RESULTS) == ["stale on sqlite, store local: update()"]
    with pytest.raises(published.NotFit, match="update"):
        published.publish(RESULTS)


def test_a_failure_of_ours_is_wrong_and_that_of_another_is_not():
    failure = {"store": "redis", "database": "sqlite", "what": "get", "why": "…\nValueError: no"}
    failures = [{**failure, "contender": name} for name in ("cachalot", "layercache")]
    assert tables.complaints({**RESULTS, "failures": failures, "freshness": []}) == [
        "get on sqlite, store redis: ValueError: no"
    ]


def test_tables_are_markdown_that_breaks_between_times_and_ratios():
    first = next(table for table in tables.all_tables(RESULTS) if table.name == "sqlite-local")
    lines = published.markdown(first).replace("\u00a0", "_").splitlines()
    assert "| get by primary key | 400_µs ±0% | – | – | – | 100_µs 4.0×_±0% |" in lines


def test_hits_are_drawn_with_a_dot_for_each_contender():
    assert drawings.hits(RESULTS).count("<circle") == 2 + 2  # and two in the legend
