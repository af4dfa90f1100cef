"""How late a reader in another process sees what was committed, where tokens are pushed.

A writer counts: mark, COMMIT (a number in shared memory, and the time that a database would take),
release. Readers ask for the number all the time. Each notes how often it got one that was old when
it began to ask, and for how long it did.
"""

import json
import mmap
import os
import time
from typing import Any

import redis

from django_layercache.engine import Engine, Recipe
from django_layercache.serializers.rows import RowsCodec
from django_layercache.serializers.sharing import size_of_rows
from django_layercache.stores.near import NearStore
from django_layercache.stores.near_pushed import PushedTokens
from django_layercache.stores.redis import RedisStore
from tests.services import RedisServer

__all__ = ["latenesses"]

TAG = "1234abcd:blog_post#pk=1"
RECIPE = Recipe("bench", "late", RowsCodec, 300, (TAG,), size_of=size_of_rows, hand_out=list)
PAUSE = 0.003


class Board:
    """In shared memory: when each number was committed, on the clock that all processes share."""

    def __init__(self, most: int) -> None:
        self._cells = memoryview(mmap.mmap(-1, 8 * (most + 2))).cast("d")

    @property
    def number(self) -> int:
        return int(self._cells[0])

    def commit(self, number: int, seconds: float) -> None:
        # Visible first, as in a database; returned when that takes no longer.
        self._cells[1 + number] = float("inf")
        self._cells[0] = number
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        self._cells[1 + number] = time.monotonic()

    def returned(self, number: int) -> float:
        return self._cells[1 + number]


def latenesses(server: RedisServer, writes: int, readers: int, commit: float) -> dict[str, Any]:
    """``late`` has the seconds, for each commit and reader."""
    board = Board(writes)
    pipes = [_fork(lambda: _read(server, board, writes, commit)) for _ in range(readers)]
    time.sleep(1)
    _write(server, board, writes, commit)
    results = []
    for pipe in pipes:
        with open(pipe, "rb") as answers:  # noqa: PTH123 - a descriptor
            results.append(json.loads(answers.read()))
        os.wait()
    late = [seconds for result in results for seconds in result["late"]]
    return {
        "commit": commit,
        "late": late,
        "writes": len(late),
        "old writes": sum(result["old writes"] for result in results),
        "reads": sum(result["reads"] for result in results),
        "old reads": sum(result["old reads"] for result in results),
    }


def _store(server: RedisServer, namespace: str) -> RedisStore:
    pool = redis.ConnectionPool(host=server.host, port=server.port)
    return RedisStore(pool, namespace=namespace, grace=0)


def _write(server: RedisServer, board: Board, writes: int, commit: float) -> None:
    engine = Engine(_store(server, f"late {commit}"))
    for number in range(1, writes + 1):
        write = engine.new_write()
        write.touch([TAG])
        write.mark()
        board.commit(number, commit)
        write.release()
        time.sleep(PAUSE)


def _read(server: RedisServer, board: Board, writes: int, commit: float) -> dict[str, Any]:
    store = _store(server, f"late {commit}")
    engine = Engine(NearStore(store, PushedTokens(store)))
    late, reads, old_reads, seen = [0.0] * writes, 0, 0, 0
    while seen < writes:
        known = board.number
        has_returned = board.returned(known) <= time.monotonic() if known else False
        ((answer,),) = engine.get_or_build(RECIPE, lambda: [(board.number,)])
        now = time.monotonic()
        reads += 1
        if answer < known and has_returned:
            old_reads += 1
            for number in range(answer + 1, known + 1):
                late[number - 1] = max(late[number - 1], now - board.returned(number))
        seen = max(seen, answer)
    return {
        "late": late,
        "reads": reads,
        "old reads": old_reads,
        "old writes": sum(seconds > 0 for seconds in late),
    }


def _fork(job: Any) -> int:
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.close(ours)
        status = 1
        try:
            with open(theirs, "wb") as answers:  # noqa: PTH123 - a descriptor
                answers.write(json.dumps(job()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(theirs)
    return ours
