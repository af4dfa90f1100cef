"""Whatever happens on the way: when all have stopped writing, nothing that is cached is old."""

import random
import threading
import time
from contextlib import suppress

import psycopg
from django.db import connections

from tests.querysets.conftest import on
from tests.querysets.outside.conftest import another_program, eventually
from tests.querysets.world import cached, is_hit, uncached
from tests.testapp.models import Post, Tag

pytestmark = on("default", "postgres")

SECONDS = 1.5

READS = {
    "tags": lambda w: list(w.all(Tag).order_by("pk").values()),
    "posts": lambda w: list(w.all(Post).order_by("pk").values("title", "views")),
    "count": lambda w: w.all(Tag).filter(name__startswith="theirs").count(),
    "one": lambda w: w.all().get(pk=w.one.pk).views,
    "two": lambda w: w.all().get(pk=w.two.pk).views,
    "tags of one": lambda w: list(w.one.tags.using(w.alias).order_by("pk").values("name")),
    "joined": lambda w: list(w.all().filter(tags__name="red").order_by("pk").values("title")),
}


def statements(w, dice):
    """What another program writes, one at random."""
    post, tag = dice.choice([w.one.pk, w.two.pk]), dice.choice([w.red.pk, w.green.pk])
    name = f"theirs {dice.random()}"
    return dice.choice(
        [
            ("UPDATE testapp_post SET views = views + 1 WHERE id = %s", [post]),
            ("UPDATE testapp_post SET title = %s", [name]),
            ("INSERT INTO testapp_tag (name) VALUES (%s)", [name]),
            (
                "INSERT INTO testapp_tag (name) SELECT %s || n FROM generate_series(1, 120) n",
                [name],
            ),
            ("DELETE FROM testapp_tag WHERE name LIKE 'theirs%%'", []),
            ("DELETE FROM testapp_post_tags WHERE post_id = %s", [post]),
            (
                "INSERT INTO testapp_post_tags (post_id, tag_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [post, tag],
            ),
            ("UPDATE testapp_tag SET name = name || '!' WHERE id = %s", [tag]),
        ]
    )


def write(w, seed, end):
    dice = random.Random(seed)
    with another_program() as program:
        while time.monotonic() < end:
            force_rollback = dice.random() < 0.2
            with suppress(psycopg.Error), program.transaction(force_rollback=force_rollback):
                for _ in range(dice.randint(1, 3)):
                    program.execute(*statements(w, dice))


def write_with_django(w, seed, end):
    dice = random.Random(seed)
    while time.monotonic() < end:
        w.all().filter(pk=dice.choice([w.one.pk, w.two.pk])).update(views=dice.randint(1, 1000))
        time.sleep(0.01)


def read(w, seed, end):
    dice = random.Random(seed)
    while time.monotonic() < end:
        cached(READS[dice.choice(list(READS))], w)


def hang_up(w, seed, end):
    dice = random.Random(seed)
    with another_program() as program:
        while time.monotonic() < end:
            time.sleep(dice.random() * 0.6)
            program.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'layercache_listen'"
            )


def test_nothing_old_is_left(world, listener):
    end = time.monotonic() + SECONDS
    seed = random.randrange(10**6)

    def run(role, number):
        try:
            role(world, seed + number, end)
        finally:
            connections.close_all()

    roles = (write, write, write_with_django, read, read, hang_up)
    threads = [
        threading.Thread(target=run, args=(role, number)) for number, role in enumerate(roles)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    for name, what in READS.items():
        after = uncached(what, world)
        eventually(lambda what=what, after=after: cached(what, world) == after, f"{name}, {seed=}")
        eventually(lambda what=what: is_hit(what, world), f"{name} is never a hit, {seed=}")
        assert cached(what, world) == after, f"{name}, {seed=}"
