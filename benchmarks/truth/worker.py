"""One contender, alone in a process: ``python -m benchmarks.truth.worker histories 30``."""

import json
import random
import sys
from typing import Any

SEED = 20


def main(what: str, number: int) -> None:
    import django

    django.setup()
    from django.conf import settings

    from benchmarks.truth.caching import CACHING

    caching = CACHING[settings.CONTENDER]()
    found = histories(caching, number) if what == "histories" else oracle(caching, number)
    print(json.dumps(found))


def prepare() -> None:
    from django.core.management import call_command

    from tests.querysets.histories import ALIAS

    call_command("migrate", run_syncdb=True, verbosity=0, database=ALIAS)


def histories(caching: Any, seconds: int) -> dict[str, Any]:
    """The load of the histories, which does not stop at the first stale read."""
    from django.db import connections

    from tests.querysets.histories import ALIAS, ROWS, play
    from tests.testapp.models import Author, Post

    prepare()
    for row in range(1, ROWS + 1):
        author = Author.objects.using(ALIAS).create(name=f"author {row}")
        Post.objects.using(ALIAS).create(pk=row, author=author, title=f"title {row}")
    connections.close_all()  # what forks shares no connection
    return play(caching, seconds, goes_on=True)


def oracle(caching: Any, every: int) -> dict[str, Any]:
    """Each of the queries (of *every* so many one) after each of the writes, in turn in five ways."""
    from benchmarks.truth.caching import Asked
    from tests.querysets.histories import ALIAS
    from tests.querysets.oracle import QUERIES, WAYS, WRITES, Oracle, in_some_way
    from tests.querysets.world import World

    prepare()
    world, r = World(ALIAS), random.Random(SEED)
    asked = Oracle(world, list(QUERIES)[::every], Asked(caching))
    asked.compare()
    asked.count.clear()
    writes = list(WRITES)
    r.shuffle(writes)
    wrong = inside = failed = 0
    needless: dict[str, float] = {}
    for step, name in enumerate(writes):
        way = WAYS[step % len(WAYS)]
        sample = r.sample(asked.queries, min(25, len(asked.queries)))
        try:
            inside += len(in_some_way(way, WRITES[name], world, r, sample, asked))
        except Exception as error:
            failed += 1
            print(f"{name}: {error!r}", file=sys.stderr)
        before = asked.count["needless"]
        wrong += len(asked.compare())
        needless[f"{name} ({way})"] = (asked.count["needless"] - before) / len(asked.queries)
    counts = {"wrong": wrong, "wrong inside": inside, "writes that failed": failed}
    return {**asked.count, **counts, "needless after": needless}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
