"""``python -m benchmarks.truth``: stale reads and needless rebuilds, side by side, on PostgreSQL and Redis.

Run it in the environment of ``make bench``. The queries, the writes and the load are those of our own tests.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import psycopg
import redis
from rich.console import Console
from rich.table import Table

from benchmarks.truth.caching import CACHING
from tests.services import PostgresServer, RedisServer
from tests.settings import PLACES

WHO = tuple(CACHING)


def main() -> int:
    arguments = parse()
    with servers() as (postgres, store):
        histories, oracle = (
            {who: run(postgres, store, who, what, number) for who in arguments.who if number}
            for what, number in (("histories", arguments.seconds), ("oracle", arguments.every))
        )
    show(histories, oracle)
    print(f"{arguments.seconds} s each; each {arguments.every}. query")
    ours = histories.get("layercache", {}), oracle.get("layercache", {})
    return 1 if ours[0].get("stale reads") or ours[1].get("wrong") else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.truth", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=30, help="of each history; 0: none (%(default)s)"
    )
    parser.add_argument(
        "--every",
        type=int,
        default=3,
        help="of how many queries one is asked; 0: none (%(default)s)",
    )
    parser.add_argument("--who", nargs="+", choices=WHO, default=WHO)
    return parser.parse_args()


@contextmanager
def servers() -> Iterator[tuple[PostgresServer, RedisServer]]:
    postgres = PostgresServer(int(PLACES["postgres"]))
    store = RedisServer(int(PLACES["redis"]))
    try:
        postgres.start()
        store.start()
        yield postgres, store
    finally:
        store.stop()
        postgres.stop()


def run(postgres: PostgresServer, store: RedisServer, who: str, what: str, number: int) -> Any:
    """What a worker found, on an empty database and an empty store."""
    print(f"{what}: {who} ...", file=sys.stderr, flush=True)
    with connected(postgres) as connection:
        connection.execute("DROP DATABASE IF EXISTS tests WITH (FORCE)")
        connection.execute("CREATE DATABASE tests")
    redis.Redis.from_url(store.url).flushall()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.truth.worker", what, str(number)],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.truth.settings",
            "LAYERCACHE_CONTENDER": who,
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def connected(postgres: PostgresServer) -> "psycopg.Connection[Any]":
    """A connection to a server that may listen, and not be ready yet."""
    while True:
        try:
            return psycopg.connect(
                host=postgres.host,
                port=postgres.port,
                user=postgres.user,
                dbname="postgres",
                autocommit=True,
            )
        except psycopg.OperationalError as error:
            if "starting up" not in str(error):
                raise
            sleep(0.1)


def show(histories: dict[str, Any], oracle: dict[str, Any]) -> None:
    if histories:
        show_histories(histories)
    if oracle:
        show_oracle(oracle)
        show_needless(oracle)


def show_histories(histories: dict[str, Any]) -> None:
    table = Table(title="Concurrent histories: several processes write, read and die")
    for heading in ("", "reads", "stale", "", "writes"):
        table.add_column(heading, justify="right" if heading else "left")
    for who, found in histories.items():
        stale = found["stale reads"]
        share = f"{stale / found['reads']:.1%}"
        table.add_row(who, str(found["reads"]), str(stale), share, str(found["written"]))
    Console().print(table)


def show_oracle(oracle: dict[str, Any]) -> None:
    table = Table(title="After each write, each query: compared with the database")
    for heading in ("", "asked", "wrong", "rebuilt for nothing", "served the second time"):
        table.add_column(heading, justify="right" if heading else "left")
    for who, found in oracle.items():
        asked = found["asked"]
        parts = (found[name] / asked for name in ("wrong", "needless", "hit the second time"))
        table.add_row(who, str(asked), *(f"{part:.1%}" for part in parts))
    Console().print(table)


def show_needless(oracle: dict[str, Any]) -> None:
    table = Table(title="Rebuilt for nothing, after which write")
    table.add_column("")
    for who in oracle:
        table.add_column(who, justify="right")
    for write in next(iter(oracle.values()))["needless after"]:
        table.add_row(
            write, *(f"{found['needless after'][write]:.0%}" for found in oracle.values())
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
