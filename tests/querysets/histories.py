"""Several processes that write and read at once, and keep account of what must be visible.

Every write adds one to a number in a row. When its commit has returned, the writer publishes in shared memory
how high the number is. A reader notes what is published *before* it asks, and what it has seen itself: an answer
that is lower comes from before a commit that had returned. The first such answer ends the history, unless it
is to go on. Writers are killed in the middle of everything.

Run by :mod:`tests.querysets.test_histories` as a program of its own: ``python -m tests.querysets.histories``, with a
JSON object as its argument; it prints another.
"""

import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace

ROWS = 4
WRITERS = 3
READERS = ("autocommit", "read committed", "repeatable read", "serializable")
ALIAS = "postgres"
UPDATE = "UPDATE testapp_post SET views = views + 1 WHERE id = %s"
#: Of the stale reads, those that are told in words.
MOST_TOLD = 20


class Layercache:
    """How the histories use the library. ``benchmarks`` has the same for others.

    *lag* is for how many seconds an answer may be old.
    """

    def __init__(self, lag=0.0):
        self.lag = lag

    def warm_up(self):
        """Import and parse what each process would have to, so that it lives long enough to write."""
        import redis  # noqa: F401

        from django_layercache.querysets.rawsql import effect_of
        from django_layercache.stores import redis as store  # noqa: F401

        effect_of(UPDATE, "postgresql")

    def cached(self, queryset):
        """*queryset*, to be answered from the cache."""
        return queryset.cached()

    def truth(self):
        """A context in which querysets are answered by the database."""
        return nullcontext()

    def hits(self):
        """How many there were in this process."""
        from django_layercache.handlers import get_engine

        return get_engine().counts["querysets", "hit"]


class Board:
    """Shared memory: how high each writer knows each row's number to be. No lock, so nobody can die with it."""

    def __init__(self):
        self._numbers = memoryview(mmap.mmap(-1, 8 * (ROWS * WRITERS + 1))).cast("q")

    def stop(self):
        self._numbers[-1] = 1

    def is_open(self, deadline):
        return not self._numbers[-1] and time.monotonic() < deadline

    def publish(self, writer, row, number):
        slot = writer * ROWS + row
        self._numbers[slot] = max(self._numbers[slot], number)

    def floors(self):
        return [max(self._numbers[w * ROWS + row] for w in range(WRITERS)) for row in range(ROWS)]


# -- writing -------------------------------------------------------------------------------------
class Undo(Exception):
    """Rolls back."""


def raise_numbers(caching, posts, row):
    """Add one to the number in *row* (1 to ROWS), in one of many ways."""
    from django.db import connections, transaction
    from django.db.models import F

    more = F("views") + 1

    def in_autocommit():
        posts.filter(pk=row).update(views=more)

    def of_unknown_rows():
        posts.filter(title=f"title {row}").update(views=more)

    def in_sql():
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(UPDATE, [row])

    def in_a_transaction():
        with transaction.atomic(ALIAS):
            posts.filter(pk=row).update(views=more)

    def of_a_locked_instance():
        with transaction.atomic(ALIAS):
            post = posts.select_for_update().get(pk=row)
            post.views += 1
            post.save()

    def after_a_look():
        posts.filter(pk=row).update(title=f"title {row}", views=more)

    def of_what_is_there():
        posts.filter(pk=row).update(title=f"title {row}")

    def after_garbage():
        with suppress(Undo), transaction.atomic(ALIAS):
            posts.filter(pk=row).update(views=10**9)
            list(caching.cached(posts.filter(pk=row)))
            raise Undo
        with transaction.atomic(ALIAS):
            with suppress(Undo), transaction.atomic(ALIAS):
                posts.filter(pk=row).update(views=10**9)
                raise Undo
            posts.filter(pk=row).update(views=more)

    ways = (
        in_autocommit,
        of_unknown_rows,
        in_sql,
        in_a_transaction,
        of_a_locked_instance,
        after_a_look,
        of_what_is_there,
        after_garbage,
    )
    random.choice(ways)()


def write_for_ever(caching, writer, board):
    from django.db import DatabaseError, connections

    from tests.testapp.models import Post

    posts = Post.objects.using(ALIAS)
    while True:
        row = random.randrange(ROWS)
        try:
            raise_numbers(caching, posts, row + 1)
            with connections[ALIAS].cursor() as cursor:
                cursor.execute("SELECT views FROM testapp_post WHERE id = %s", [row + 1])
                board.publish(writer, row, cursor.fetchone()[0])
        except DatabaseError:  # a deadlock, a serialization failure
            connections[ALIAS].close()
        time.sleep(random.uniform(0, 0.004))


def write_and_die(caching, writer, board, deadline):
    """Let a process write, kill it, let the next one write, ..."""
    killed = 0
    while board.is_open(deadline):
        child = os.fork()
        if child == 0:
            random.seed()
            write_for_ever(caching, writer, board)
        time.sleep(random.uniform(0.3, 1.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
    return {"killed": killed}


# -- reading -------------------------------------------------------------------------------------
def ask(posts, kind):
    """The numbers that one cached query gives, by row; *posts* decides whether it is cached."""
    if kind == "row":
        row = random.randrange(ROWS)
        return {row: posts.get(pk=row + 1).views}
    if kind == "rows":
        return {post.pk - 1: post.views for post in posts.filter(pk__in=[1, 2])}
    if kind == "join":
        found = posts.select_related("author").order_by("author__name", "pk")
        return {post.pk - 1: post.views for post in found}
    if kind == "values":
        return {pk - 1: views for pk, views in posts.values_list("pk", "views")}
    from django.db.models import Max

    return {
        row: posts.filter(title=f"title {row + 1}").aggregate(n=Max("views"))["n"] for row in [1]
    }


KINDS = ("row", "rows", "join", "values", "aggregate")


class Reader:
    """Asks, compares, and counts."""

    def __init__(self, caching, board, *, goes_on):
        from tests.testapp.models import Post

        self.caching = caching
        self.board = board
        self.goes_on = goes_on
        self.earlier = deque([(0.0, [0] * ROWS)])
        self.posts = Post.objects.using(ALIAS)
        self.seen = [0] * ROWS
        self.stale = []
        self.reads = self.stale_reads = 0

    def floors(self):
        """What has to be visible: what was so many seconds ago."""
        now = time.monotonic()
        floors = [max(pair) for pair in zip(self.board.floors(), self.seen, strict=True)]
        self.earlier.append((now, floors))
        while len(self.earlier) > 1 and self.earlier[1][0] <= now - self.caching.lag:
            self.earlier.popleft()
        return self.earlier[0][1]

    def check(self, how, answer, floors, ceilings=None):
        self.reads += 1
        stale = [
            f"{how}: row {row} is {number}, and was {floors[row]}"
            for row, number in answer.items()
            if number < floors[row] or (ceilings and number > ceilings[row]) or number >= 10**9
        ]
        if stale:
            self.stale_reads += 1
            self.stale += stale[: max(0, MOST_TOLD - len(self.stale))]
            if not self.goes_on:
                self.board.stop()

    def see(self, answer):
        for row, number in answer.items():
            self.seen[row] = max(self.seen[row], number)

    def read_current(self):
        if random.random() < 0.2:  # what the database itself has shown
            with self.caching.truth():
                self.see(ask(self.posts, random.choice(KINDS)))
        if self.caching.lag:
            time.sleep(0.001)  # who waits for no server leaves the writers no processor
        kind = random.choice(KINDS)
        floors = self.floors()
        answer = ask(self.caching.cached(self.posts), kind)
        self.check(kind, answer, floors)
        self.see(answer)

    def read_snapshot(self):
        floors = self.board.floors()
        with self.caching.truth():
            snapshot = ask(self.posts, "values")
        self.check("snapshot", snapshot, floors)
        for _ in range(6):
            kind = random.choice(KINDS)
            answer = ask(self.caching.cached(self.posts), kind)
            self.check(kind, answer, snapshot, snapshot)
            time.sleep(random.uniform(0, 0.002))


def read_until(caching, deadline, level, board, *, goes_on):
    from django.db import DatabaseError, connections, transaction

    reader = Reader(caching, board, goes_on=goes_on)
    while board.is_open(deadline):
        try:
            if level == "autocommit":
                reader.read_current()
                continue
            with transaction.atomic(ALIAS), connections[ALIAS].cursor() as cursor:
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
                if level == "read committed":
                    for _ in range(5):
                        reader.read_current()
                else:
                    reader.read_snapshot()
        except DatabaseError:
            connections[ALIAS].close()
    counts = {"reads": reader.reads, "hits": caching.hits(), "stale reads": reader.stale_reads}
    return {**counts, "stale": reader.stale}


# -- rules, switched off -------------------------------------------------------------------------
def switch_off(rule):
    from django_layercache.engine import attempts
    from django_layercache.engine.writes import Write
    from django_layercache.querysets import isolation
    from django_layercache.stores.redis import RedisStore

    def release_before_commit(self):
        unmarked = mark(self)
        self._store.release(self._writer, self._marked)
        self._marked = frozenset()
        return unmarked

    mark = Write.mark
    if rule == "marks":
        RedisStore.mark = lambda self, writer, tags, lease: None
    elif rule == "release after commit":
        Write.mark = release_before_commit
    elif rule == "leases longer than a commit":
        Write.mark = lambda self: setattr(self, "_lease", 0.0) or mark(self)
    elif rule == "snapshots":
        isolation.TransactionIsolation.objection = lambda self, states, *rest: None
    elif rule == "equal tokens":
        use = attempts.Attempt._use
        attempts.Attempt._use = lambda self, entry, reading: use(
            self, entry, replace(reading, states=entry.tokens)
        )
    elif rule is not None:
        raise ValueError(rule)


# -- all together --------------------------------------------------------------------------------
def in_children(jobs):
    """Run each job in a forked process; return what they return."""
    pipes = []
    for job in jobs:
        ours, theirs = os.pipe()
        if os.fork() == 0:
            os.close(ours)
            status = 1
            try:
                random.seed()
                os.write(theirs, json.dumps(job()).encode()[:60_000])
                status = 0
            finally:
                os._exit(status)
        os.close(theirs)
        pipes.append(ours)
    results = []
    for pipe in pipes:
        with open(pipe, "rb") as answers:  # noqa: PTH123 - a descriptor
            results.append(json.loads(answers.read() or b"{}"))
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return results


def warm_up():
    """Import what the children would have to. Connect to nothing."""
    from django.db import connections

    from tests.testapp.models import Post

    str(Post.objects.using(ALIAS).select_related("author").query)
    str(connections[ALIAS].Database)


def slow_down_commits():
    """A commit takes its time: before the server has done it, and before its answer arrives."""
    from django.db import connections

    wrapper = type(connections[ALIAS])
    commit = wrapper._commit

    def slowly(self):
        time.sleep(random.uniform(0, 0.01))
        commit(self)
        time.sleep(random.uniform(0, 0.01))

    wrapper._commit = slowly


def play(caching, seconds, *, goes_on=False):
    """A history of *seconds*; returns what was counted, and what was stale."""
    warm_up()
    caching.warm_up()
    slow_down_commits()
    board = Board()
    deadline = time.monotonic() + seconds
    writers = [lambda w=w: write_and_die(caching, w, board, deadline) for w in range(WRITERS)]
    readers = [
        lambda level=level: read_until(caching, deadline, level, board, goes_on=goes_on)
        for level in READERS
    ]
    results = in_children([*writers, *readers])
    total = Counter()
    stale = []
    for level, result in zip([*["writer"] * WRITERS, *READERS], results, strict=True):
        stale += [f"{level}: {line}" for line in result.pop("stale", [])]
        total.update(result)
    return {**total, "written": sum(board.floors()), "stale": stale}


def main(layercache, seconds, without=None, lag=0.0):
    import django

    django.setup()
    from django.test import override_settings

    with ExitStack() as stack:
        stack.enter_context(override_settings(LAYERCACHE=layercache))
        switch_off(without)
        print(json.dumps(play(Layercache(lag), seconds)))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
