"""The reference is complete: what is public is written down, and what is written down is public."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from django.test import override_settings

import django_layercache
from django_layercache import checks as our_checks
from django_layercache import conf, exceptions

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
CHECK_ID = r"\blayercache\.[EWI]\d{3}\b"


def reference(name):
    return (REFERENCE / name).read_text()


@pytest.mark.parametrize("name", sorted(conf.DEFAULTS))
def test_every_setting_is_in_the_reference(name):
    assert f"## `{name}`\n" in reference("settings.md")


def test_the_reference_has_no_setting_that_is_none():
    assert set(re.findall(r"^## `(\w+)`$", reference("settings.md"), re.MULTILINE)) == set(
        conf.DEFAULTS
    )


def test_the_defaults_in_the_reference_are_the_defaults():
    (block,) = re.findall(r"```python\n(LAYERCACHE = .*?)```", reference("settings.md"), re.DOTALL)
    shown: dict = {}
    exec(block, shown)
    assert shown["LAYERCACHE"] == dict(conf.DEFAULTS)


@pytest.mark.parametrize("name", sorted(django_layercache.__all__))
def test_every_public_name_is_in_the_reference(name):
    assert re.search(rf"\{{py:(?:function|decorator|class)\}} {name}\b", reference("python.md"))


@pytest.mark.parametrize("name", sorted(exceptions.__all__))
def test_every_exception_is_in_the_reference(name):
    assert f"{{py:exception}} {name}\n" in reference("python.md")


def test_every_system_check_is_in_the_reference_and_no_other():
    modules = Path(inspect.getfile(our_checks)).parent.glob("checks*.py")
    in_code = {found for path in modules for found in re.findall(CHECK_ID, path.read_text())}
    assert in_code
    assert set(re.findall(CHECK_ID, reference("checks.md"))) == in_code


def settings_in_the_documentation():
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            if "LAYERCACHE = {" in block and ">>>" not in block:
                yield pytest.param(block, id=f"{page.relative_to(ROOT)}:{block[:30]!r}")


@pytest.mark.parametrize("block", list(settings_in_the_documentation()))
def test_settings_that_the_documentation_shows_pass_the_system_checks(block):
    shown: dict = {}
    exec(block, shown)
    values = {name: shown[name] for name in ("LAYERCACHE", "CACHES") if name in shown}
    models = values["LAYERCACHE"].get("MODELS", {})
    # `shop` is an application of the reader's, and `replica` an alias.
    values["LAYERCACHE"].get("DATABASES", {}).pop("replica", None)
    if "TENANT" in values["LAYERCACHE"]:
        values["LAYERCACHE"]["TENANT"] = dict  # theirs is the reader's, too
    values["LAYERCACHE"]["MODELS"] = {
        name: options for name, options in models.items() if not name.startswith("shop.")
    }
    with override_settings(**values):
        assert our_checks.check_settings() == []


def words_of_the_code():
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "getLogger":
                yield from (
                    argument.value for argument in node.args if isinstance(argument, ast.Constant)
                )


def test_every_logger_is_in_the_reference():
    missing = [
        name
        for name in sorted(set(words_of_the_code()))
        if f"`{name}`" not in reference("logging.md")
    ]
    assert not missing
