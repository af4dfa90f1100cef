"""Another program, which writes without Django; the triggers; and a listener in a thread of its own."""

import queue
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from django_layercache.querysets.outside.listening import Listener
from tests.querysets.conftest import use_store
from tests.querysets.world import World

#: Much longer than any of it takes, on a loaded machine.
PATIENCE = 20


@pytest.fixture
def world(request, settings):
    use_store(request, settings, "redis")
    return World("postgres")


@pytest.fixture
def triggers(world):
    """Triggers on all tables of the test app."""
    triggers_command("install", "testapp.*")
    yield
    world.connection.close()
    triggers_command("remove")


def triggers_command(*arguments):
    """What the command says, by table."""
    from io import StringIO

    out = StringIO()
    call_command("layercache_triggers", *arguments, database="postgres", stdout=out)
    return dict(line.split(": ") for line in out.getvalue().splitlines())


@contextmanager
def listening(**options):
    """A listener that is ready. The queue that it gives gets an item whenever it is, again."""
    ready = queue.Queue()
    listener = Listener("postgres", on_ready=ready.put, **options)

    def run():
        try:
            listener.run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        ready.get(timeout=PATIENCE)
        yield ready
    finally:
        listener.stop()
        thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def listener(triggers):
    with listening() as ready:
        yield ready


@contextmanager
def another_program(**options):
    said = connections["postgres"].settings_dict
    with psycopg.connect(
        host=said["HOST"],
        port=said["PORT"],
        user=said["USER"],
        dbname=said["NAME"],
        autocommit=True,
        **options,
    ) as connection:
        yield connection


@pytest.fixture
def elsewhere():
    """The connection of another program, in autocommit."""
    with another_program() as connection:
        yield connection


@pytest.fixture
def heard(triggers):
    """A function that gives what has been told until now, as it is told."""
    import json

    with another_program() as ears:
        ears.execute("LISTEN layercache")
        yield lambda: [json.loads(one.payload) for one in ears.notifies(timeout=0.05)]


def eventually(what, message="it does not happen"):
    """Wait until *what* is true."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, message
        time.sleep(0.005)
