"""The commands that the documentation names are there, and missing servers are never passed over in silence."""

import re
import subprocess
from importlib.metadata import metadata
from pathlib import Path

import pytest

import django_layercache
from tests import plugin
from tests.services import RedisServer

ROOT = Path(__file__).parents[2]
TARGETS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_make_alone_lists_every_command():
    listing = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [target for target in TARGETS if f"make {target} " not in listing] == []


@pytest.mark.parametrize(
    "target", ("demo", "test", "lint", "types", "docs", "bench", "services", "clean")
)
def test_make_has(target):
    assert target in TARGETS


@pytest.mark.parametrize("page", ("README.md", "CONTRIBUTING.md", "docs/tutorial/first-steps.md"))
def test_every_make_command_in_the_text_exists(page):
    named = re.findall(r"(?:^\$ |`)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE)
    assert set(named) <= set(TARGETS)


def test_the_readme_names_the_two_commands_on_its_first_screen():
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_django_is_all_that_is_required():
    required = [
        line
        for line in metadata("django-layercache").get_all("Requires-Dist")
        if "extra ==" not in line
    ]
    assert [re.match(r"[\w-]+", line).group().lower() for line in required] == ["django"]


def test_the_types_are_shipped():
    assert (Path(django_layercache.__file__).parent / "py.typed").is_file()


@pytest.fixture
def without_redis(monkeypatch):
    monkeypatch.setattr(RedisServer, "program", classmethod(lambda cls: None))


def test_a_missing_server_is_a_skip_with_a_reason(without_redis, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install redis-server"):
        plugin.require(RedisServer)


def test_a_missing_server_is_a_failure_in_ci(without_redis, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="redis is not installed"):
        plugin.require(RedisServer)
