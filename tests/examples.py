"""Runs the examples in the documentation.

Python blocks are executed from the top of a page to its end, in one namespace: blocks with a `>>>` are compared with
what they print, the others must run. Blocks of templates must compile. Each page begins with the blog of
`tests/blog`, which it may import as `blog`, and with an empty cache.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path

import pytest
from django.core.management import call_command
from django.template import Template
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

# The pages call the application what a reader would call it; its models must exist once only.
for module in ("", ".models"):
    sys.modules[f"blog{module}"] = importlib.import_module(f"tests.blog{module}")


def compile_template(example) -> None:
    """A template in the documentation has to be one that Django can load."""
    Template(example.parsed)


def in_words(parser):
    """Report exceptions as text: Sybil's own report fails on an exception that has a cause."""

    def reporting(evaluate):
        def evaluated(example):
            try:
                return evaluate(example)
            except Exception:
                return traceback.format_exc()

        return evaluated

    def parse(document):
        for region in parser(document):
            region.evaluator = reporting(region.evaluator)
            yield region

    return parse


pytest_collect_file = Sybil(
    parsers=[
        in_words(PythonCodeBlockParser(doctest_optionflags=ELLIPSIS | NORMALIZE_WHITESPACE)),
        in_words(CodeBlockParser(language="html+django", evaluator=compile_template)),
    ],
    path=str(Path(__file__).parents[1]),
    patterns=["README.md", "docs/*.md", "docs/*/*.md", "docs/*/*/*.md"],
    fixtures=["blog"],
).pytest()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    """Tell pytest-django that the examples need a database."""
    for item in items:
        if isinstance(item, SybilItem):
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="module")
def blog(django_db_setup, django_db_blocker):
    """A blog with an author, two posts and a comment, committed, for the length of one page."""
    from blog.models import Author, Comment, Post

    with django_db_blocker.unblock():
        ada = Author.objects.create(pk=1, name="Ada")
        first = Post.objects.create(pk=1, author=ada, title="Hello", body="The first post.")
        Post.objects.create(pk=2, author=ada, title="Again", body="The second post.")
        Comment.objects.create(pk=1, post=first, text="Welcome!")
        yield
        call_command("flush", interactive=False, verbosity=0)
