"""The listener: notifications become invalidations, and what may have been missed is made good."""

import copy
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import tags
from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import get_engine
from django_layercache.querysets import outbox
from django_layercache.querysets.connections import MOST_TAGS, state_of
from django_layercache.querysets.outside.messages import tags_of_message, tags_of_tables
from django_layercache.querysets.outside.triggers import CHANNEL, installed

__all__ = ["Listener"]

#: Seconds between two tries to connect: the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

logger = logging.getLogger("django_layercache.querysets")


class Listener:
    """Listens to one database, on a connection of its own, until :meth:`stop`.

    *heartbeat* is after how many silent seconds the server is asked whether it is still there; it
    has as long again to answer. *on_ready* is called with the tables that have triggers,
    whenever all that they had to tell so far is known to the store.
    """

    def __init__(
        self,
        alias: str,
        *,
        heartbeat: float = 5.0,
        on_ready: Callable[[list[str]], Any] = lambda tables: None,
    ) -> None:
        self._alias = alias
        self._heartbeat = heartbeat
        driver: Any = connections[alias]
        self._errors = (driver.Database.Error, OSError)
        self._on_ready = on_ready
        self._stopped = False
        self._woken, self._wake = os.pipe()
        self._failures = 0

    def stop(self) -> None:
        """May be called by a signal handler, and from other threads."""
        self._stopped = True
        os.write(self._wake, b".")

    def run(self) -> None:
        """Listen; connect again whenever the connection is lost."""
        while not self._stopped:
            try:
                with self._connected() as line:
                    self._catch_up(line)
                    self._failures = 0
                    while not self._stopped:
                        self._follow(line)
            except self._errors as error:
                logger.warning(
                    "Cannot listen to %r. What is missed meanwhile is made good later. %s",
                    self._alias,
                    " ".join(str(error).split()),
                )
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._failures)
                self._failures += 1
                select.select([self._woken], [], [], pause)

    def catch_up(self) -> None:
        """Once: everything that may have been missed is rebuilt when next asked for."""
        with self._connected() as line:
            self._catch_up(line)

    @contextmanager
    def _connected(self) -> "Iterator[_Line]":
        line = _Line(_alone(connections[self._alias]), self._heartbeat)
        try:
            yield line
        finally:
            line.close()

    def _catch_up(self, line: "_Line") -> None:
        """LISTEN first: what is committed after it is told, and what was before it is bumped now."""
        line.ask(f"LISTEN {CHANNEL}")
        tables = line.tables()
        self._release(tags_of_tables(tables, connections[self._alias]))
        self._on_ready(tables)

    def _follow(self, line: "_Line") -> None:
        messages = line.take()
        if messages:
            self._release(self._changed(messages, line))
            return
        readable, _, _ = select.select([line.fileno(), self._woken], [], [], self._heartbeat)
        if not readable:
            line.ask("SELECT 1")

    def _changed(self, messages: Iterable[str], line: "_Line") -> set[str]:
        changed: set[str] = set()
        for message in set(messages):
            try:
                changed |= tags_of_message(message, connections[self._alias])
            except ValueError:
                logger.warning("A notification that cannot be read may mean any table: %r", message)
                changed |= tags_of_tables(line.tables(), connections[self._alias])
        return changed

    def _release(self, changed: set[str]) -> None:
        """After the commit, so new tokens are all it takes.

        Where the store is away, the others learn it from the outbox, and this process owes it.
        """
        changed = set(tags.widened(changed))
        if len(changed) > MOST_TAGS:
            changed = tags.collapsed(changed)
        engine = get_engine()
        try:
            if changed:
                engine.store.release("listener", changed)
        except StoreUnavailable:
            engine.outages.owe(changed)
            self._leave_in_outbox(changed)

    def _leave_in_outbox(self, changed: set[str]) -> None:
        connection = connections[self._alias]
        try:
            outbox.put(state_of(connection), changed)
        except Exception:
            # This process still owes it, and the next one that listens bumps everything.
            logger.exception("The outbox in %r cannot be written.", self._alias)
        finally:
            connection.close()


class _Line:
    """The driver's connection. No answer is waited for longer than *patience* seconds."""

    def __init__(self, wrapper: BaseDatabaseWrapper, patience: float) -> None:
        self._patience = patience
        self._heard: list[str] = []
        self._driver: Any = wrapper.get_new_connection(wrapper.get_connection_params())
        self._driver.autocommit = True
        if hasattr(self._driver, "add_notify_handler"):  # psycopg 3
            self._driver.add_notify_handler(lambda notify: self._heard.append(notify.payload))

    def fileno(self) -> int:
        return int(self._driver.fileno())

    def ask(self, sql: str) -> None:
        with self._hung_up_when_late(), self._driver.cursor() as cursor:
            cursor.execute(sql)

    def tables(self) -> list[str]:
        """The tables whose changes are told."""
        with self._hung_up_when_late(), self._driver.cursor() as cursor:
            return sorted({table for one in installed(cursor) for table in one.tables})

    def take(self) -> list[str]:
        """What has arrived; waits for nothing."""
        if hasattr(self._driver, "pgconn"):
            pgconn = self._driver.pgconn
            pgconn.consume_input()
            while (notify := pgconn.notifies()) is not None:
                self._heard.append(notify.extra.decode())
        else:  # psycopg2
            self._driver.poll()
            self._heard += [notify.payload for notify in self._driver.notifies]
            self._driver.notifies.clear()
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        self._driver.close()

    @contextmanager
    def _hung_up_when_late(self) -> Iterator[None]:
        timer = threading.Timer(self._patience, _hang_up, [self.fileno()])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # before the descriptor is somebody else's


def _hang_up(descriptor: int) -> None:
    """End the connection under whoever waits for it, in any driver."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as line:
        line.shutdown(socket.SHUT_RDWR)


def _alone(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """Another connection to the same database: not from a pool, and with a bound to connecting."""
    settings = copy.deepcopy(connection.settings_dict)
    defaults = {"connect_timeout": 10, "application_name": "layercache_listen"}
    settings["OPTIONS"] = {**defaults, **settings["OPTIONS"]}
    settings["OPTIONS"].pop("pool", None)
    return type(connection)(settings, connection.alias)
