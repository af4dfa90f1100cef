"""``manage.py layercache_listen``: what others write to PostgreSQL invalidates what depends on it."""

import signal
import threading
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from django_layercache.management.common import ask_store, plain_errors, refuse_local
from django_layercache.querysets.databases import is_primary
from django_layercache.querysets.outside.listening import Listener

__all__ = ["Command"]


_NOBODY_TELLS = "no table has triggers; 'manage.py layercache_triggers install' puts them there."


def seconds(text: str) -> float:
    """What *text* says; argparse shows the name of this function."""
    number = float(text)
    if not 0 < number < threading.TIMEOUT_MAX:
        raise ArgumentTypeError("it is a number of seconds greater than 0")
    return number


class Command(BaseCommand):
    help = (
        "Turns the notifications of the triggers that layercache_triggers has installed into "
        "invalidations, until it is interrupted or terminated."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, choices=list(connections))
        parser.add_argument(
            "--once",
            action="store_true",
            help="Invalidate what depends on tables that have triggers, and end.",
        )
        parser.add_argument(
            "--heartbeat",
            type=seconds,
            metavar="SECONDS",
            default=5.0,
            help="After so many silent seconds the server is asked whether it is there.",
        )

    def handle(self, *, database: str, once: bool, heartbeat: float, **options: Any) -> None:
        if connections[database].vendor != "postgresql":
            raise CommandError(f"{database!r} is not a PostgreSQL database.")
        if not is_primary(database):
            raise CommandError(f"{database!r} is a replica, which cannot notify: name its primary.")
        refuse_local()
        listener = Listener(database, heartbeat=heartbeat, on_ready=self._say)
        if once:
            with plain_errors(), connections[database].wrap_database_errors:
                ask_store()  # or it would be left in the outbox
                listener.catch_up()
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *args: listener.stop())
        listener.run()

    def _say(self, tables: list[str]) -> None:
        number = len(tables)
        told = (
            "1 table tells of its changes."
            if number == 1
            else f"{number} tables tell of their changes."
        )
        self.stdout.write(f"Ready: {told if tables else _NOBODY_TELLS}")
        self.stdout.flush()
