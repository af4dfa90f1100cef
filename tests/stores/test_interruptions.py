"""An exception between a command and its reply (a signal handler's, such as Celery's soft time limit; RecursionError).

The connection goes back to the pool with a reply under way, and whoever takes it next reads that.
"""

import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import redis

from django_layercache.stores.base import Entry
from django_layercache.stores.redis import RedisStore

LATENCY = 0.15


class SoftTimeLimit(Exception):
    pass


@pytest.fixture
def far(fresh_redis):
    """The port of a proxy whose answers take a while, as over a network."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, target, wait):
        try:
            while data := source.recv(65536):
                if wait:
                    time.sleep(wait)
                target.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            target.close()

    def serve():
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection((fresh_redis.host, fresh_redis.port))
            threading.Thread(target=pump, args=(near, server, 0), daemon=True).start()
            threading.Thread(target=pump, args=(server, near, LATENCY), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@contextmanager
def interrupted():
    """A signal's handler that raises while the answer is on its way."""

    def interrupt(*_):
        raise SoftTimeLimit

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, LATENCY / 3)
    try:
        with pytest.raises(SoftTimeLimit):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def stores(fresh_redis, far):
    return [
        RedisStore(redis.ConnectionPool(host="127.0.0.1", port=port), grace=0.0)
        for port in (far, fresh_redis.port)
    ]


def test_the_next_read_is_not_answered_with_the_reply_before(fresh_redis, far):
    here, elsewhere = stores(fresh_redis, far)
    token = here.read(None, ["row"]).states["row"]
    here.write("k", Entry({"row": token}, b"old"), 60)
    assert here.read("k", []).entry.payload == b"old"

    with interrupted():
        here.read("k", [])
    time.sleep(0.02)  # the server has answered; the answer is on its way
    elsewhere.mark("w", ["row"], 30)
    elsewhere.release("w", ["row"])  # ... a commit has returned

    reading = here.read("k", [])  # and now a read begins
    assert reading.states["row"] != token, "the reply from before the commit: a stale hit"


def test_the_next_read_does_not_raise(fresh_redis, far):
    here, _ = stores(fresh_redis, far)
    here.read("k", ["row"])
    with interrupted():
        here.write("k", Entry({"row": "t"}, b"x"), 60)
    here.read("k", ["row"])


def test_a_mark_is_not_taken_for_placed_by_the_reply_to_another_command(fresh_redis, far):
    here, elsewhere = stores(fresh_redis, far)
    token = here.read(None, ["row"]).states["row"]
    with interrupted():
        here.read("k", [])
    elsewhere.client.set("fill", b"x" * 3_000_000)
    elsewhere.client.config_set("maxmemory", "1mb")  # no more room: a mark is refused from here on
    from django_layercache.exceptions import StoreUnavailable

    with pytest.raises(StoreUnavailable):
        here.mark("w", ["row"], 30)
    assert elsewhere.read(None, ["row"]).states["row"] == token
