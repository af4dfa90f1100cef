"""Many miss the same slow thing at once: how many of them build it?"""

import threading
from time import perf_counter, sleep
from typing import Any

from django.db import connection

from benchmarks.blog.models import Post
from benchmarks.contenders import Contender
from benchmarks.scenarios.base import STAMPEDE

_THREADS = int(STAMPEDE["threads"])


def stampede(contender: Contender, turn: int) -> dict[str, float]:
    """``builds``: how often the query ran; ``seconds``: until the last had its answer."""
    builds: list[None] = []
    failures: list[BaseException] = []
    barrier = threading.Barrier(_THREADS + 1)

    def slow_down(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("SELECT"):
            builds.append(None)
            sleep(STAMPEDE["seconds"])
        return execute(sql, *rest)

    def visit() -> None:
        try:
            connection.ensure_connection()
            with connection.execute_wrapper(slow_down):
                barrier.wait()
                posts = Post.objects.filter(author_id=3, views__gt=-turn - 1)
                contender.value(f"stampede:{turn}", lambda: list(posts))
        except BaseException as error:  # reported by the thread that waits
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=visit) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait(30)
    begin = perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return {"builds": len(builds), "seconds": perf_counter() - begin}
