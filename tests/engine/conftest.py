"""An engine on a local store."""

import pytest

from django_layercache.engine import Engine
from tests.engine.tools import FailingStore


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
def engine(store: FailingStore) -> Engine:
    return Engine(store, jitter=0.0)
