"""What is measured against the floor is a hit each time, and each line has a figure."""

from benchmarks import floor


def test_the_table_has_a_figure_for_each_line(fresh_redis):
    value, tags = floor.CASES["1 row, 2 tags"]
    times = floor.measure(fresh_redis, value, tags, times=3)
    table = floor.table({"one": times})
    assert [row[0] for row in table.rows] == list(times)
    assert next(table.rows)[1].endswith("1.0×")
