"""The first `migrate` of a project whose store is down: no outbox yet, many commits, and a log that one can read."""

import os
import subprocess
import sys

SETTINGS = """
import os
from tests.bare_settings import *

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
BACKEND = "django.core.cache.backends.redis.RedisCache"
CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": os.environ["SERVER"]}}
LAYERCACHE = {"CACHE": "default"}
"""

#: The server is down, and comes back when a line is read.
MIGRATION = """
import time
import django
from django.core.management import call_command

django.setup()
call_command("migrate", "contenttypes", verbosity=0)
call_command("migrate", "auth", verbosity=0)
print("migrated", flush=True)
input()
from django_layercache.handlers import get_engine

end = time.monotonic() + 20
while get_engine().outages.in_debt and time.monotonic() < end:
    time.sleep(0.02)
"""


def test_the_log_says_once_that_there_is_no_outbox_and_how_often_when_the_store_is_back(
    fresh_redis, tmp_path
):
    (tmp_path / "down.py").write_text(SETTINGS)
    fresh_redis.kill()
    process = subprocess.Popen(
        [sys.executable, "-c", MIGRATION],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "down",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            "DATABASE": str(tmp_path / "db.sqlite3"),
            "SERVER": fresh_redis.url,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "migrated\n", process.communicate()[1]
    fresh_redis.start()
    _, log = process.communicate("go on\n", timeout=30)
    lines = log.splitlines()
    assert [line[:43] for line in lines] == [
        "The store is away: the Redis server does no",
        "The store is away and there is no outbox in",
        "The store is back, and knows what it missed",
    ], log
    assert "for some commits (" in lines[-1]
    assert int(lines[-1].partition("(")[2].split()[0]) > 5
