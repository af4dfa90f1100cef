"""What another program writes is seen as soon as the listener has heard of it, whatever happens to either."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from django_layercache.models import OutboxEntry
from django_layercache.querysets.outside.messages import tags_of_message
from django_layercache.tags import readable
from tests.querysets.conftest import on, use_store, wait_until_trusted
from tests.querysets.outside.conftest import (
    PATIENCE,
    eventually,
    listening,
    triggers_command,
)
from tests.querysets.test_transactions import one, titles
from tests.querysets.world import World, cached, is_hit, outcomes, uncached, warm
from tests.testapp.models import Author, Comment, Country, Post, Profile, Tag

pytestmark = on("default", "postgres")


def rows(model):
    return lambda w: list(w.all(model).order_by("pk").values())


def names_of_tags(w, post):
    return list(post.tags.using(w.alias).order_by("pk").values_list("name", flat=True))


RENAME = "UPDATE testapp_post SET title = 'theirs' WHERE id = %s"


# -- what is written -----------------------------------------------------------------------------
WRITES = {
    "insert": (Tag, "INSERT INTO testapp_tag (name) VALUES ('theirs')"),
    "insert a key that was looked for": (
        Country,
        "INSERT INTO testapp_country (code, name) VALUES ('DE', 'Germany')",
    ),
    "update": (Post, "UPDATE testapp_post SET title = 'theirs'"),
    "delete": (Comment, "DELETE FROM testapp_comment"),
    "upsert": (
        Tag,
        "INSERT INTO testapp_tag (name) VALUES ('red') ON CONFLICT (name) DO UPDATE SET name = 'x'",
    ),
    "merge": (
        Post,
        """MERGE INTO testapp_post p USING testapp_author a ON a.id = p.author_id
           WHEN MATCHED AND a.name = 'Ada' THEN UPDATE SET title = a.name
           WHEN MATCHED THEN DO NOTHING""",
    ),
    "truncate": (Profile, "TRUNCATE testapp_profile"),
    "truncate with what hangs on it": (Comment, "TRUNCATE testapp_author CASCADE"),
    "a function": (Author, "DO $$ BEGIN UPDATE testapp_author SET name = 'theirs'; END $$"),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_another_program_writes_is_seen(world, listener, elsewhere, name):
    model, sql = WRITES[name]
    read = rows(model)
    warm(read, world)
    elsewhere.execute(sql)
    after = uncached(read, world)
    eventually(lambda: cached(read, world) == after)
    assert warm(read, world) == after


def test_what_psql_copies_is_seen(world, listener):
    said = world.connection.settings_dict
    warm(rows(Tag), world)
    subprocess.run(
        ["psql", "-h", said["HOST"], "-p", str(said["PORT"]), "-U", said["USER"], "-q", said["NAME"],
         "-c", r"\copy testapp_tag (name) FROM pstdin"],
        input="copied\nin bulk\n", text=True, check=True,
    )  # fmt: skip
    eventually(lambda: len(cached(rows(Tag), world)) == 4)


def test_a_change_of_one_row_leaves_the_others_alone(world, listener, elsewhere):
    other = lambda w: w.all().get(pk=w.two.pk)  # noqa: E731
    warm(one, world), warm(other, world)
    elsewhere.execute(RENAME, [world.one.pk])
    eventually(lambda: cached(one, world) == "theirs")
    assert is_hit(other, world)


def test_a_change_in_one_partition_leaves_the_others_alone(world, listener, elsewhere):
    warm(names_of_tags, world, world.one), warm(names_of_tags, world, world.two)
    elsewhere.execute(
        "INSERT INTO testapp_post_tags (post_id, tag_id) VALUES (%s, %s)",
        [world.one.pk, world.green.pk],
    )
    eventually(lambda: cached(names_of_tags, world, world.one) == ["red", "green"])
    assert is_hit(names_of_tags, world, world.two)


def test_a_row_that_moves_changes_both_partitions(world, listener, elsewhere):
    warm(names_of_tags, world, world.one), warm(names_of_tags, world, world.three)
    elsewhere.execute(
        "UPDATE testapp_post_tags SET post_id = %s WHERE post_id = %s",
        [world.three.pk, world.one.pk],
    )
    eventually(lambda: cached(names_of_tags, world, world.one) == [])
    assert cached(names_of_tags, world, world.three) == ["red"]


def test_a_notification_that_cannot_be_read_may_mean_any_table(world, listener, elsewhere):
    warm(titles, world), warm(rows(Tag), world)
    for nonsense in (
        "nonsense",
        '{"v": 2}',
        "[]",
        '{"tables": 1, "columns": {}}',
        '{"tables": ["testapp_post"], "columns": {"id": ["x"]}}',
    ):
        elsewhere.execute("SELECT pg_notify('layercache', %s)", [nonsense])
        eventually(lambda: outcomes(titles, world) == ["miss"])
        eventually(lambda: is_hit(titles, world))


def test_a_table_that_no_model_reads_has_no_tags(world):
    told = '{"tables": ["nobody", "testapp_tag"], "columns": {"id": [1]}}'
    changed = tags_of_message(told, world.connection)
    assert {tag.partition("#")[0] for tag in readable(changed)} == {"testapp_tag"}
    assert "testapp_tag#pk=1" in readable(changed)


# -- gaps ----------------------------------------------------------------------------------------
def pids(w):
    with w.connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'layercache_listen'"
        )
        return [pid for (pid,) in cursor.fetchall()]


def test_what_was_written_while_nobody_listened_is_caught_up(world, triggers, elsewhere):
    warm(titles, world)
    elsewhere.execute(RENAME, [world.one.pk])
    assert is_hit(titles, world)
    with listening():
        assert cached(titles, world)[0] == "theirs"


def test_what_was_written_before_there_were_triggers_is_caught_up(world, elsewhere):
    warm(titles, world)
    elsewhere.execute(RENAME, [world.one.pk])
    try:
        triggers_command("install", "testapp.post")
        assert cached(titles, world)[0] == "theirs"
    finally:
        triggers_command("remove")


def test_a_connection_that_was_lost_is_replaced_and_the_gap_caught_up(world, listener, elsewhere):
    warm(titles, world), warm(rows(Tag), world)
    (pid,) = pids(world)
    # In one statement and one transaction: nobody can have heard of it.
    elsewhere.execute(f"SELECT pg_terminate_backend({pid}); {RENAME % world.one.pk}")
    listener.get(timeout=PATIENCE)
    assert cached(titles, world)[0] == "theirs"
    elsewhere.execute("UPDATE testapp_tag SET name = 'pink' WHERE name = 'red'")
    eventually(lambda: cached(rows(Tag), world)[0]["name"] == "pink")


def test_a_server_that_does_not_answer_is_hung_up_on(world, triggers, elsewhere):
    with listening(heartbeat=0.2) as ready:
        (pid,) = pids(world)
        os.kill(pid, signal.SIGSTOP)
        try:
            elsewhere.execute(RENAME, [world.one.pk])
            ready.get(timeout=PATIENCE)
            assert cached(titles, world)[0] == "theirs"
        finally:
            os.kill(pid, signal.SIGCONT)


def test_two_listeners_do_each_others_work(world, listener, elsewhere):
    with listening():
        warm(titles, world)
        elsewhere.execute(RENAME, [world.one.pk])
        eventually(lambda: cached(titles, world)[0] == "theirs")


# -- a store that is away ------------------------------------------------------------------------
@pytest.fixture
def with_own_redis(fresh_redis, settings):
    settings.CACHES = {
        **settings.CACHES,
        "own": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": fresh_redis.url,
        },
    }
    settings.LAYERCACHE = {"CACHE": "own", "GRACE": 0.1, "LEASE": 2}
    wait_until_trusted()
    world = World("postgres")
    triggers_command("install", "testapp.post")
    yield world
    world.connection.close()
    triggers_command("remove")


def test_what_is_heard_while_the_store_is_away_is_not_lost(with_own_redis, fresh_redis, elsewhere):
    world = with_own_redis
    with listening():
        warm(titles, world)
        with fresh_redis.paused():  # it comes back with all that it had
            elsewhere.execute(RENAME, [world.one.pk])
            # For the other processes, which may not have noticed that it was away.
            eventually(OutboxEntry.objects.using("postgres").exists)
        eventually(lambda: cached(titles, world)[0] == "theirs")
        eventually(lambda: is_hit(titles, world))
        assert cached(titles, world)[0] == "theirs"
        fresh_redis.kill()
        elsewhere.execute("UPDATE testapp_post SET title = 'again'")
        fresh_redis.start()
        eventually(lambda: cached(titles, world)[0] == "again")
        eventually(lambda: is_hit(titles, world))
        assert cached(titles, world)[0] == "again"


# -- the command ---------------------------------------------------------------------------------
LISTEN = """
import sys
{before}
import django
from django.conf import settings
settings.LAYERCACHE = {layercache!r}
django.setup()
from django.core.management import call_command
call_command("layercache_listen", *{arguments!r})
"""


def start_listening(*arguments, before=""):
    script = LISTEN.format(
        before=before,
        layercache=django_settings.LAYERCACHE,
        arguments=["--database=postgres", *arguments],
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("driver", "number"), (("psycopg", signal.SIGTERM), ("psycopg2", signal.SIGINT))
)
def test_the_command_says_when_it_is_ready_and_ends_when_it_is_told(
    world, triggers, elsewhere, driver, number
):
    pytest.importorskip(driver)
    before = "sys.modules['psycopg'] = None" if driver == "psycopg2" else ""
    process = start_listening(before=before)
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        assert process.stdout.readline().startswith("Ready: ")
        warm(titles, world)
        elsewhere.execute(RENAME, [world.one.pk])
        eventually(lambda: cached(titles, world)[0] == "theirs")
        process.send_signal(number)
        assert process.wait() == 0
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def test_once_it_catches_up_and_ends(world, triggers, elsewhere):
    warm(titles, world)
    elsewhere.execute(RENAME, [world.one.pk])
    call_command("layercache_listen", "--once", database="postgres")
    assert cached(titles, world)[0] == "theirs"


def test_a_replica_is_refused(world, settings):
    settings.LAYERCACHE = {
        **settings.LAYERCACHE,
        "DATABASES": {"postgres": {"replica_of": "default", "max_lag": 1}},
    }
    for command in (["layercache_listen"], ["layercache_triggers", "install", "*"]):
        with pytest.raises(CommandError, match="name its primary"):
            call_command(*command, database="postgres")


@pytest.mark.parametrize("seconds", ("0", "-1", "nan", "inf", "soon"))
def test_a_heartbeat_that_can_be_none_is_refused(seconds):
    with pytest.raises(CommandError, match="--heartbeat"):
        call_command("layercache_listen", f"--heartbeat={seconds}")


def test_without_a_shared_store_it_is_refused(request, settings):
    use_store(request, settings, "local")
    with pytest.raises(CommandError, match="local"):
        call_command("layercache_listen", database="postgres")
