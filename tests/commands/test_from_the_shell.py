"""The commands as they are called from a shell: whatever is wrong, they say so, and end with a code that is not 0."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import free_port

ROOT = Path(__file__).parents[2]
REDIS = "django.core.cache.backends.redis.RedisCache"
SHARED = {"CACHE": "default", "NAMESPACE": "from the shell"}
POSTGRES = "django.db.backends.postgresql"


@pytest.fixture
def shell(tmp_path):
    """A function that runs a command under settings of its own."""

    def run(*arguments, **settings):
        lines = [f"{name} = {value!r}" for name, value in settings.items()]
        source = "\n".join(["from tests.bare_settings import *", *lines])
        (tmp_path / "settings_of_this_test.py").write_text(source)
        paths = [str(tmp_path), str(ROOT), str(ROOT / "src")]
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings_of_this_test",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        command = [sys.executable, "-m", "django", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def redis_at(location):
    return {"default": {"BACKEND": REDIS, "LOCATION": location}}


def nowhere():
    return redis_at(f"redis://127.0.0.1:{free_port()}/0")


def dead_postgres():
    place = {"ENGINE": POSTGRES, "HOST": "127.0.0.1", "PORT": free_port(), "NAME": "nothing"}
    return {"default": place}


@pytest.mark.parametrize(
    ("command", "layercache", "caches", "hint"),
    [
        (["layercache", "clear"], {"CACHE": "default"}, redis_at("http://x"), "entry in CACHES"),
        (["layercache_listen"], {"CACHE": "nowhere"}, nowhere(), "Choose 'default'"),
    ],
)
def test_settings_that_are_wrong_end_in_the_hint_of_their_check(
    shell, command, layercache, caches, hint
):
    done = shell(*command, LAYERCACHE=layercache, CACHES=caches)
    assert done.returncode == 1
    assert hint in done.stderr.partition("HINT: ")[2]
    assert "Traceback" not in done.stderr


def test_a_store_that_is_away_is_said_in_one_line(shell):
    done = shell("layercache", "status", LAYERCACHE=SHARED, CACHES=nowhere())
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("CommandError: The store is away: ") and "refused" in line


@pytest.mark.parametrize(
    "command", [["layercache_triggers", "show"], ["layercache_listen", "--once"]]
)
def test_a_database_that_is_away_is_said_in_one_line(shell, redis_server, command):
    done = shell(
        *command,
        LAYERCACHE=SHARED,
        CACHES=redis_at(redis_server.url),
        DATABASES=dead_postgres(),
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("CommandError: The database says: ") and "refused" in line


def test_what_cannot_be_drained_because_there_is_no_outbox_is_an_error(shell, redis_server):
    done = shell("layercache", "drain", LAYERCACHE=SHARED, CACHES=redis_at(redis_server.url))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "CommandError: There is no outbox: run 'manage.py migrate'.\n"


def test_status_says_how_the_store_is_although_the_database_is_away(shell, redis_server):
    done = shell(
        *("layercache", "status"),
        LAYERCACHE=SHARED,
        CACHES=redis_at(redis_server.url),
        DATABASES=dead_postgres(),
    )
    assert done.returncode == 1
    assert "reachable   yes" in done.stdout
    assert "CommandError: The outbox of 'default' cannot be read: " in done.stderr
