"""What import-linter cannot say: it sees Django as one module, and the engine may not use three parts of it."""

import ast
from pathlib import Path

import pytest

import django_layercache

PACKAGE = Path(django_layercache.__file__).parent
GROUND_FLOORS = sorted(
    path for room in ("engine", "stores") for path in (PACKAGE / room).rglob("*.py")
)
FORBIDDEN = ("django.conf", "django.db", "django.http", "django.core.cache", "django.shortcuts")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", GROUND_FLOORS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_engine_and_its_stores_know_no_settings_no_orm_and_no_http(path):
    wrong = [
        name
        for name in imports_of(path)
        if f"{name}.".startswith(tuple(f"{part}." for part in FORBIDDEN))
    ]
    assert not wrong


def test_there_is_an_engine_to_look_at():
    assert GROUND_FLOORS
