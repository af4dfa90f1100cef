"""``python -m benchmarks.outside``: how soon what another program wrote is known, and what it pays for that."""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any

from benchmarks.machine import machine, versions
from benchmarks.places import places
from benchmarks.report.figures import duration

LATER = 10  # seconds after which a listener that has said nothing never will

UPDATE = "UPDATE blog_post SET views = views + 1 WHERE id = %s"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outside", description=__doc__)
    parser.add_argument("--times", type=int, default=2000, help="how many commits are followed")
    arguments = parser.parse_args()
    print(machine(), versions())
    with places() as where:
        if not where.redis or not where.postgres:
            sys.exit("It takes a PostgreSQL and a Redis server.")
        assignment = where.assignment("postgresql", "layercache", "redis")
        os.environ["LAYERCACHE_BENCHMARK"] = json.dumps(assignment.settings)
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
        _measure(arguments.times)


def _measure(times: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    program = _another_program()
    call_command("layercache_triggers", "install", "blog.*", verbosity=0, stdout=io.StringIO())
    print("The statement, without triggers and with them:")
    for name, statement, rounds in (
        ("one row", "UPDATE blog_post SET views = views + 1 WHERE id = 1", times // 10),
        ("500 rows", "UPDATE blog_post SET views = views + 1 WHERE id <= 500", times // 200),
    ):
        before, after = _cost(program, statement, max(rounds, 5))
        print(f"  {name:<12} {duration(before):>10} {duration(after):>10}  x {after / before:.2f}")
    with _listener():
        _wait_for_trust()
        seconds = [_latency(program, 1 + number % 100) for number in range(times)]
    cuts = quantiles(seconds, n=1000, method="inclusive")
    print("From the return of the COMMIT until the new token is there:")
    for name, value in (
        ("median", median(seconds)), ("90 %", cuts[899]), ("99 %", cuts[989]),
        ("99.9 %", cuts[998]), ("longest", max(seconds)),
    ):  # fmt: skip
        print(f"  {name:<8} {duration(value):>10}")


def _another_program() -> Any:
    import psycopg
    from django.db import connection

    said = connection.settings_dict
    return psycopg.connect(
        host=said["HOST"],
        port=said["PORT"],
        user=said["USER"],
        dbname=said["NAME"],
        autocommit=True,
    )


def _cost(program: Any, statement: str, times: int) -> list[float]:
    """Without triggers, and with them: in turns, as the table and the machine change meanwhile."""
    seconds: dict[str, list[float]] = {"DISABLE": [], "ENABLE ALWAYS": []}
    for _ in range(10):
        for state, measured in seconds.items():
            program.execute("VACUUM blog_post")
            program.execute(f"ALTER TABLE blog_post {state} TRIGGER layercache_update")
            measured.append(_timed(times, lambda: program.execute(statement)))
    return [median(measured) for measured in seconds.values()]


def _timed(times: int, call: Callable[[], Any]) -> float:
    call()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


@contextmanager
def _listener() -> Any:
    command = [sys.executable, "-m", "django", "layercache_listen"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline().startswith("Ready")
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for_trust() -> None:
    """A Redis that has just begun is in grace, which asking for something brings to its end."""
    from benchmarks.blog.models import Post
    from django_layercache.handlers import get_engine

    while get_engine().store.read(None, ["probe"]).states["probe"] is None:
        Post.objects.cached().count()
        time.sleep(0.1)


def _latency(program: Any, key: int) -> float:
    from django.db import connection

    from django_layercache import tags
    from django_layercache.handlers import get_engine
    from django_layercache.querysets.connections import state_of

    store = get_engine().store
    tag = tags.row(state_of(connection).database, "blog_post", str(key))
    before = store.read(None, [tag]).states[tag]
    program.execute(UPDATE, [key])
    committed = time.perf_counter()
    while store.read(None, [tag]).states[tag] == before:
        if time.perf_counter() - committed > LATER:
            sys.exit("The listener does not hear anything.")
    return time.perf_counter() - committed


if __name__ == "__main__":
    main()
