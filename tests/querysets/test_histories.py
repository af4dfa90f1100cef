"""Concurrent histories of several processes over PostgreSQL and Redis: no read is stale, whoever dies."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.querysets.conftest import on, use_store
from tests.querysets.histories import ROWS
from tests.testapp.models import Author, Post

# Of seconds: short enough for many a writer to die with a mark, and for the mark to run out within the test.
LEASE = 1
LAYERCACHE = {"CACHE": "redis", "NAMESPACE": "histories", "LEASE": LEASE, "GRACE": 0}


@pytest.fixture
def rows(request, settings):
    use_store(request, settings, "redis", NAMESPACE="histories")
    for row in range(1, ROWS + 1):
        author = Author.objects.using("postgres").create(name=f"author {row}")
        Post.objects.using("postgres").create(pk=row, author=author, title=f"title {row}")


def play(seconds, without=None, freshness=None):
    near = {"freshness": freshness} if freshness else None
    arguments = {
        "layercache": {**LAYERCACHE, "NEAR": near},
        "seconds": seconds,
        "without": without,
        # What is pushed is known to have come within a second; and another one for the machine.
        "lag": 2.0 if freshness == "pushed" else 0.0,
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.querysets.histories", json.dumps(arguments)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def play_until(least, **options):
    """Histories without a stale read, as many as it takes a slow machine to be worth the name."""
    total = Counter()
    for _ in range(6):
        history = play(seconds=8, **options)
        assert history.pop("stale") == []
        total.update(history)
        if all(total[name] >= number for name, number in least.items()):
            return
    assert total >= Counter(least)


def finds_stale_reads(**options):
    return any(play(seconds=40, **options)["stale"] for _ in range(3))


@on("default", "postgres")
def test_no_read_is_answered_from_before_a_commit_that_had_returned(rows):
    play_until({"killed": 5, "written": 10, "reads": 100, "hits": 20})


@on("default", "postgres")
@pytest.mark.parametrize("freshness", ("strict", "pushed"))
def test_nor_is_one_that_is_answered_from_near(rows, freshness):
    play_until({"written": 1, "reads": 50, "hits": 10}, freshness=freshness)


@on("default", "postgres")
@pytest.mark.parametrize(
    "rule",
    ("marks", "release after commit", "snapshots", "equal tokens"),
)
def test_the_same_load_finds_stale_reads_where_a_rule_is_off(rows, rule):
    assert finds_stale_reads(without=rule)
