"""A writer that cannot reach the store leaves a note in the outbox and dies; nobody else reads it."""

import os
import subprocess
import sys
import time

import pytest

from django_layercache.handlers import engines
from tests.querysets.conftest import on
from tests.querysets.world import World, cached, uncached
from tests.services import free_port

pytestmark = on("default")

WRITER = """
import os, django
from django.conf import settings
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
settings.CACHES["redis"]["LOCATION"] = "redis://127.0.0.1:{port}/0"
settings.LAYERCACHE = {{"CACHE": "redis", "GRACE": 0}}
django.setup()
from tests.testapp.models import Post
{write}
os._exit(0)
"""
WRITES = 'Post.objects.filter(pk={pk}).update(title="new")'
TELLS = """
import sqlite3
from django_layercache import invalidate
with sqlite3.connect(settings.DATABASES["default"]["NAME"]) as database:
    database.execute("UPDATE testapp_post SET title = 'new' WHERE id = {pk}")
invalidate(Post)
"""


@pytest.mark.parametrize("write", [WRITES, TELLS])
@pytest.mark.parametrize("new_process", [False, True])
def test_what_a_cut_off_process_wrote_is_known_to_the_others(redis_store, new_process, write):
    world = World("default")

    def read():
        return world.all().get(pk=world.one.pk).title

    cached(read)
    cached(read)
    script = WRITER.format(port=free_port(), write=write.format(pk=world.one.pk))
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if new_process:
        engines.reset()
    end = time.monotonic() + 3  # some seconds would be an explanation; it is for ever
    while cached(read) != uncached(read):
        assert time.monotonic() < end, "still the old row"
        time.sleep(0.1)
