"""An empty cache for each test."""

import pytest

from django_layercache.handlers import engines


@pytest.fixture(autouse=True)
def empty_cache():
    engines.reset()
    yield
    engines.reset()
