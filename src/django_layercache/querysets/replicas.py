"""Replicas: whether what one answers is as new as the tags under which the answer would be stored.

Tags are fetched, then this is asked, then the replica is read. All that was committed under a
token was committed before it was drawn. So it is enough that the replica has replayed what the
primary had written at some moment *after* the token was seen.
"""

import logging
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, partial
from threading import Lock
from typing import Any

from django_layercache import tags
from django_layercache.querysets.connections import ConnectionState
from django_layercache.querysets.databases import options_of
from django_layercache.querysets.isolation import take_snapshot
from django_layercache.stores.base import Token, TokenState

__all__ = ["Sightings", "behind"]

logger = logging.getLogger("django_layercache.querysets")

#: Where the next record goes, which is behind every commit that anybody was told of. (What has been
#: *written* may be less: a commit with ``synchronous_commit = off`` does not wait for it.)
_INSERTED = "SELECT pg_current_wal_insert_lsn() - '0/0', current_setting('wal_block_size')::int"
_REPLAYED = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() - '0/0' END"
#: What one has replayed that is a replica no longer, or never was.
_NOTHING = float("-inf")
#: At the beginning of a page of the log, the next record goes behind one of its two headers.
_HEADERS = (24, 40)

_LAGS = "read from a replica that may not have replayed all that was committed"
_IS_NONE = "read from what 'replica_of' says is a replica, and PostgreSQL says is none"


def behind(state: ConnectionState) -> Callable[[Mapping[str, TokenState]], str | None] | None:
    """Of a replica: a function that says why a read that follows may be older than tags in these states."""
    return None if state.primary is None else partial(_objection, state)


def _objection(state: ConnectionState, states: Mapping[str, TokenState]) -> str | None:
    database = state.database
    tokens = [
        token
        for tag, token in states.items()
        if token is not None and tags.is_of_database(tag, database)
    ]
    if not tokens:
        return None
    if len({token[:8] for token in tokens}) > 1:
        return _LAGS  # of two generations: they have no order, and are no hit for anybody
    try:
        has_replayed = _has_replayed(state, tokens)
    except Exception as error:
        _complain(state.connection.alias, error)
        return _LAGS
    _silent.discard(state.connection.alias)
    if has_replayed:
        return None
    return _IS_NONE if state.replayed is _NOTHING else _LAGS


#: The aliases of which the log says that they do not tell, until they do.
_silent: set[str] = set()


def _complain(alias: str, error: Exception) -> None:
    if alias not in _silent:
        _silent.add(alias)
        logger.warning(
            "What the replica %r has replayed cannot be told; what it answers is not stored: %s",
            alias,
            error,
        )


def _has_replayed(state: ConnectionState, tokens: Collection[Token]) -> bool:
    alias, primary = state.connection.alias, state.primary
    lag = options_of(alias).get("max_lag")
    if lag is not None:
        return time.monotonic() - _sightings(alias).when(tokens, time.monotonic) >= float(lag)
    if primary is None or {primary.connection.vendor, state.connection.vendor} != {"postgresql"}:
        return False
    needed = _sightings(primary.database).when(tokens, lambda: _inserted(primary))
    if state.replayed < needed:
        state.replayed = _replayed(state)
    return state.replayed >= needed


class Sightings:
    """When tokens had been drawn already: at which time, or at which position of the primary's log.

    What holds for a token holds for all before it. So a few are enough, and a busy primary, which
    is always a little ahead of its replicas, has to be asked once for each of them.
    """

    MOST = 64

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: list[tuple[Token, float]] = []

    def when(self, tokens: Collection[Token], now: Callable[[], float]) -> float:
        """The earliest time that is known at which all *tokens* had been drawn, which may be *now*."""
        newest = max(tokens)
        with self._lock:
            if self._seen and self._seen[0][0][:8] != newest[:8]:
                self._seen.clear()  # of another generation: they have no order
            place = bisect_left(self._seen, (newest,))
            if place < len(self._seen):
                return self._seen[place][1]
        sighting = newest, now()
        with self._lock:
            insort(self._seen, sighting)
            if len(self._seen) > self.MOST:
                del self._seen[: self.MOST // 2 : 2]
        return sighting[1]


@lru_cache(maxsize=64)
def _sightings(name: str) -> Sightings:  # noqa: ARG001 - each name has its own
    return Sightings()


# -- PostgreSQL ---------------------------------------------------------------------------------


def _inserted(primary: ConnectionState) -> int:
    position, size = map(int, _ask(primary, _INSERTED))
    return position - position % size if position % size in _HEADERS else position


def _replayed(replica: ConnectionState) -> float:
    (position,) = _ask(replica, _REPLAYED)
    return _NOTHING if position is None else int(position)


def _ask(state: ConnectionState, question: str) -> tuple[Any, ...]:
    """The answer of the database, beside the application's own queries and unharmed if there is none."""
    connection = state.connection
    connection.ensure_connection()
    in_transaction = state.in_transaction
    if in_transaction:
        take_snapshot(state)  # for the question may be the first statement
    with connection.connection.cursor() as cursor:
        if not in_transaction:
            cursor.execute(question)
            return tuple(cursor.fetchone())
        cursor.execute("SAVEPOINT layercache")
        try:
            cursor.execute(question)
            return tuple(cursor.fetchone())
        except BaseException:
            cursor.execute("ROLLBACK TO SAVEPOINT layercache")
            raise
        finally:
            cursor.execute("RELEASE SAVEPOINT layercache")
