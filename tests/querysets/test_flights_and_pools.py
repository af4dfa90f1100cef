"""A waiter of a flight keeps what it holds while it waits, and the one who builds may need just that."""

import threading
import time

from django.db import connections

from django_layercache import cached
from tests.querysets.conftest import on
from tests.testapp.models import Author

pytestmark = on(
    "default", "postgres"
)  # in the wild: psycopg's pool of 4, and 4 requests that hold a connection


def test_nobody_waits_for_a_flight_that_needs_its_lock(local_store):
    from django.db import transaction

    author = Author.objects.using("postgres").create(name="Ada")
    started = threading.Event()

    @cached
    def summary():
        started.set()
        time.sleep(0.3)
        with transaction.atomic("postgres"):
            return list(
                Author.objects.using("postgres").select_for_update().values_list("name", flat=True)
            )

    took = {}

    def run(name, function):
        begun = time.monotonic()
        try:
            function()
        finally:
            took[name] = time.monotonic() - begun
            connections.close_all()

    def locking():
        with transaction.atomic("postgres"):
            list(Author.objects.using("postgres").select_for_update().filter(pk=author.pk))
            started.wait(5)
            summary()

    threads = [
        threading.Thread(target=run, args=job) for job in (("waits", locking), ("builds", summary))
    ]
    threads[0].start()
    time.sleep(0.1)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert max(took.values()) < 3, took
