"""A process that begins trusts a shared store when it knows what others have left in the outbox."""

import json

import pytest
from django.test import override_settings

from django_layercache.engine import Recipe, trace
from django_layercache.handlers import EngineHandler, engines
from django_layercache.models import OutboxEntry
from django_layercache.serializers.rows import RowsCodec
from django_layercache.stores.local import LocalStore

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other", "postgres"])


@pytest.fixture
def new_process(redis_server):
    """An engine as a process that has just begun gets it."""
    handlers = []

    def begin():
        handler = EngineHandler()
        handler.parts = engines.parts
        handlers.append(handler)
        return handler.get()

    with override_settings(LAYERCACHE={"CACHE": "redis", "NAMESPACE": "beginnings", "GRACE": 0}):
        yield begin
        for handler in handlers:
            handler.reset()


def outcome(engine):
    recipe = Recipe("functions", "key", RowsCodec, 60, ("#beginnings",))
    with trace() as events:
        engine.get_or_build(recipe, lambda: [(1,)])
    return events[-1].outcome


@pytest.mark.parametrize("alias", ("default", "other", "postgres"))
def test_what_is_in_the_outbox_of_any_database_is_rebuilt(new_process, alias):
    first = new_process()
    outcome(first)
    assert outcome(first) == "hit"
    assert outcome(new_process()) == "hit"
    OutboxEntry.objects.using(alias).create(tags=json.dumps(["#beginnings"]))
    assert outcome(new_process()) == "miss"
    assert not OutboxEntry.objects.using(alias).exists()


def test_it_begins_in_debt_and_waits_until_that_is_paid(new_process):
    assert not new_process().outages.in_debt


def test_a_process_of_its_own_store_has_missed_nothing():
    handler = EngineHandler()
    handler.parts = engines.parts
    with override_settings(LAYERCACHE={}):
        engine = handler.get()
    assert isinstance(engine.store, LocalStore)
    assert not engine.outages._in_debt
