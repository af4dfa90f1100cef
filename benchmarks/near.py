"""``python -m benchmarks.near``: hits in the near tier, by level; and how late what is pushed can be."""

import argparse
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import redis

from benchmarks.lateness import latenesses
from benchmarks.machine import machine, versions
from benchmarks.report.figures import duration
from benchmarks.report.tables import Table, show_tables
from django_layercache.engine import Engine, Recipe
from django_layercache.serializers.rows import RowsCodec
from django_layercache.serializers.sharing import size_of_rows
from django_layercache.stores.near import NearStore
from django_layercache.stores.near_pushed import PushedTokens
from django_layercache.stores.near_request import RequestTokens, token_snapshot
from django_layercache.stores.redis import RedisStore
from tests.services import RedisServer

ROWS = {"1 row": 1, "20 rows": 20, "500 rows": 500}
TAGS = ("1234abcd:", "1234abcd:blog_post#*")
FLOOR, SHARED = "raw socket, decode", "Redis, no near tier"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--times", type=int, default=300, help="how many hits a round has")
    parser.add_argument("--writes", type=int, default=2000)
    parser.add_argument("--readers", type=int, default=2, help="how many processes read")
    arguments = parser.parse_args()
    print(machine(), versions())
    server = RedisServer()
    server.start()
    try:
        show_tables([_hits(server, arguments.rounds, arguments.times)])
        found = [
            latenesses(server, arguments.writes, arguments.readers, commit)
            for commit in (0.0, 0.0003, 0.001)
        ]
        show_tables([_late(found)])
    finally:
        server.stop()


# -- hits --------------------------------------------------------------------------------------


def _hits(server: RedisServer, rounds: int, times: int) -> Table:
    columns = {title: _measure(server, count, rounds, times) for title, count in ROWS.items()}
    levels = list(next(iter(columns.values())))
    rows = [
        [
            level,
            *(
                f"{duration(cells[level])} ({cells[level] / cells[SHARED]:.2f}; {cells[level] / cells[FLOOR]:.2f})"
                for cells in columns.values()
            ),
        ]
        for level in levels
    ]
    note = "In brackets: times the hit in Redis without a near tier; times the floor."
    return Table("near-hits", "A hit, by get_or_build", ["", *columns], [("", rows)], note=note)


def _measure(server: RedisServer, count: int, rounds: int, times: int) -> dict[str, float]:
    rows = [(n, f"title {n}", f"{n} and so on " * 5, n * 1.5, None) for n in range(count)]
    recipe = Recipe(
        "bench", f"rows{count}", RowsCodec, 300, TAGS, size_of=size_of_rows, hand_out=list
    )
    with _contenders(server, recipe, rows) as calls:
        seconds: dict[str, list[float]] = {level: [] for level in calls}
        for _ in range(rounds):
            for level, call in calls.items():
                found = []
                for _ in range(times):
                    begin = time.perf_counter()
                    call()
                    found.append(time.perf_counter() - begin)
                seconds[level].append(median(found))
    return {level: median(found) for level, found in seconds.items()}


@contextmanager
def _contenders(
    server: RedisServer, recipe: Recipe, rows: list[Any]
) -> Iterator[dict[str, Callable[[], Any]]]:
    pool = redis.ConnectionPool(host=server.host, port=server.port)
    shared = RedisStore(pool, namespace="bench", grace=0)
    pushed = PushedTokens(shared)
    stores = {
        SHARED: shared,
        "strict": NearStore(shared),
        "request": NearStore(shared, RequestTokens()),
        "pushed": NearStore(shared, pushed),
    }
    calls: dict[str, Callable[[], Any]] = {FLOOR: _floor(server, RowsCodec.dumps(rows))}
    while pushed.tokens() is None:
        time.sleep(0.01)
    with token_snapshot():
        for level, store in stores.items():
            calls[level] = _hit(Engine(store), recipe, rows)
        yield calls
    for store in stores.values():
        store.close()


def _hit(engine: Engine, recipe: Recipe, rows: list[Any]) -> Callable[[], Any]:
    engine.get_or_build(recipe, lambda: rows)
    time.sleep(0.05)  # the pushes of what was minted

    def fail() -> Any:
        raise AssertionError("not a hit")

    for _ in range(3):
        engine.get_or_build(recipe, fail)
    return lambda: engine.get_or_build(recipe, fail)


def _floor(server: RedisServer, data: bytes) -> Callable[[], Any]:
    with redis.Redis(host=server.host, port=server.port) as client:
        client.set("floor", data)
    connection = socket.create_connection((server.host, server.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = len(b"$%d\r\n" % len(data))
    size = head + len(data) + 2

    def get() -> Any:
        connection.sendall(b"*2\r\n$3\r\nGET\r\n$5\r\nfloor\r\n")
        reply = connection.recv(65536)
        while len(reply) < size:
            reply += connection.recv(65536)
        return RowsCodec.loads(reply[head:-2])

    return get


# -- lateness ----------------------------------------------------------------------------------


def _late(found: list[dict[str, Any]]) -> Table:
    rows = []
    for one in found:
        late = one["late"]
        rows.append(
            [
                f"COMMIT takes {one['commit'] * 1e3:g} ms",
                f"{one['old writes'] / one['writes']:.2%}",
                f"{one['old reads']} of {one['reads']}",
                *(duration(_percentile(late, part)) for part in (0.5, 0.9, 0.99, 0.999, 1)),
            ]
        )
    columns = [
        "",
        "commits with an old read",
        "old reads",
        "50 %",
        "90 %",
        "99 %",
        "99.9 %",
        "most",
    ]
    note = (
        "From the instant at which the writer's COMMIT had returned until a reader, which reads all the time, "
        "answered with what was committed; 0 if it did at once. By reader and commit."
    )
    return Table("near-lateness", "pushed: how late", columns, [("", rows)], note=note)


def _percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


if __name__ == "__main__":
    main()
