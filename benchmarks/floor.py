"""``python -m benchmarks.floor``: what a hit through Redis takes, against the floor under it.

The floor is what nobody can go below: GET on a bare socket, and decoding the rows.
"""

import argparse
import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median
from time import perf_counter_ns
from typing import Any
from unittest import mock

import redis

from benchmarks.machine import machine
from benchmarks.report.figures import digits, duration
from benchmarks.report.tables import Table, show_tables
from django_layercache.engine import Engine, Recipe
from django_layercache.serializers.rows import RowsCodec
from django_layercache.stores.near import NearStore
from django_layercache.stores.redis import RedisStore
from django_layercache.stores.resp import packed
from tests.services import RedisServer

Times = dict[str, float]


def rows(count: int) -> list[tuple[Any, ...]]:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return [(number, f"A title of post {number}", when, True, number) for number in range(count)]


#: The rows of an entry, and how many tags it has.
CASES = {
    "1 row, 2 tags": (rows(1), 2),
    "20 rows, 9 tags": (rows(20), 9),
    "100 rows, 9 tags": (rows(100), 9),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--times", type=int, default=3000, help="how often each is called")
    arguments = parser.parse_args()
    print(machine())
    server = RedisServer()
    server.start()
    try:
        measured = {title: measure(server, *case, arguments.times) for title, case in CASES.items()}
    finally:
        server.stop()
    show_tables([table(measured)])


def measure(server: RedisServer, value: list[Any], tags: int, times: int) -> Times:
    recipe = Recipe(
        "bench", "key", RowsCodec(), None, tuple(f"blog.post#pk={n}" for n in range(tags))
    )
    pool = redis.ConnectionPool(host=server.host, port=server.port)
    store = RedisStore(pool, grace=0.0)
    engine, near = Engine(store), Engine(NearStore(store))
    engine.refresh(recipe, lambda: value)
    assert engine.get_or_build(recipe, _never) == value
    name, payload = store._entry_key("key"), RowsCodec.dumps(value)
    client = redis.Redis(connection_pool=pool)
    with _bare_get(server, name) as get:
        found = {
            "the floor: GET on a bare socket, rows decoded": _time(
                lambda: (get(), RowsCodec.loads(payload)), times
            ),
            "redis-py: GET, rows decoded": _time(
                lambda: (client.get(name), RowsCodec.loads(payload)), times
            ),
        }
    found["a hit"] = _time(lambda: engine.get_or_build(recipe, _never), times)
    found["a hit, awaited"] = asyncio.run(_awaited(engine, recipe, times))
    found["a hit near, strict"] = _time(lambda: near.get_or_build(recipe, _never), times)
    with mock.patch.object(store._recall, "find", return_value=None):
        found["a hit, by the script"] = _time(lambda: engine.get_or_build(recipe, _never), times)
    store.close()
    client.close()
    return found


@contextmanager
def _bare_get(server: RedisServer, name: str) -> Iterator[Callable[[], bytes]]:
    command = packed("GET", name)
    with socket.create_connection((server.host, server.port)) as bare:
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def get() -> bytes:
            bare.sendall(command)
            return bare.recv(65536)

        yield get


def _time(call: Callable[[], Any], times: int) -> float:
    """The median, in seconds."""
    for _ in range(100):
        call()
    took = []
    for _ in range(times):
        begin = perf_counter_ns()
        call()
        took.append(perf_counter_ns() - begin)
    return median(took) / 1e9


async def _awaited(engine: Engine, recipe: Recipe, times: int) -> float:
    took = []
    for _ in range(times + 100):
        begin = perf_counter_ns()
        await engine.aget_or_build(recipe, _anever)
        took.append(perf_counter_ns() - begin)
    return median(took[100:]) / 1e9


def _never() -> Any:
    raise AssertionError("it was no hit")


async def _anever() -> Any:
    _never()


def table(measured: dict[str, Times]) -> Table:
    floors = {title: next(iter(times.values())) for title, times in measured.items()}
    lines = next(iter(measured.values()))
    cells = [
        [
            line,
            *(
                f"{duration(times[line])} {digits(times[line] / floors[title])}×"
                for title, times in measured.items()
            ),
        ]
        for line in lines
    ]
    return Table(
        "floor",
        "A hit in Redis against the floor",
        ["", *measured],
        [("", cells)],
        note="Medians. n×: n times as long as the floor.",
    )


if __name__ == "__main__":
    main()
