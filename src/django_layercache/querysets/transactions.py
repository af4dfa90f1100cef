"""COMMIT, ROLLBACK and the rest, around Django's own: the write rules of the protocol.

Everything here is called from :mod:`django_layercache.querysets.seams`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db import InterfaceError, InternalError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import conf, tags
from django_layercache.engine import Write
from django_layercache.exceptions import WriteRefused
from django_layercache.handlers import get_engine
from django_layercache.querysets import outbox, rowcounts, triggered
from django_layercache.querysets.connections import ConnectionState, state_of
from django_layercache.querysets.levels import Level
from django_layercache.querysets.rowcounts import RowCount
from django_layercache.querysets.watching import dealt_with, is_ours
from django_layercache.querysets.writes import tags_that_follow

__all__ = [
    "at_once",
    "closing",
    "committing",
    "comparing",
    "disturbing",
    "ending",
    "is_open",
    "is_sound",
    "may_be_of_its_own",
    "of_its_own",
    "perhaps_ending",
    "rolling_back",
    "writing",
]

#: As libpq calls them.
_IDLE, _IN_TRANSACTION, _IN_FAILED_TRANSACTION = 0, 2, 3


@contextmanager
def writing(
    connection: BaseDatabaseWrapper,
    changed: Collection[str],
    *,
    is_counted: bool = False,
) -> Iterator[None]:
    """Around a statement that changes the tags *changed*.

    In a transaction they are dirty from now on, unless it *is_counted* how many rows it changes, and
    there are none. In autocommit the statement is the transaction: marks before, release after.
    """
    if is_ours():
        yield
        return
    state = state_of(connection)
    if not state.in_transaction:
        with at_once(connection, {*changed, *tags_that_follow(changed, connection)}):
            yield
        return
    added = state.touch(changed)
    touches = state.touches
    with dealt_with(), rowcounts.counting() as count:
        yield
    if is_counted and count.is_zero:
        state.untouch(added, touches)
    elif following := tags_that_follow(changed, connection):
        state.touch(following)


@contextmanager
def comparing(
    connection: BaseDatabaseWrapper,
    difference: Callable[[RowCount], Collection[str] | None],
    otherwise: Callable[[], Collection[str]],
) -> Iterator[None]:
    """Around an UPDATE whose *difference* is known afterwards: the tags that it has changed.

    *Otherwise*, if that is ``None`` or the statement fails, it has changed others.
    """
    state = state_of(connection)
    if not state.in_transaction:  # as far as we know
        with writing(connection, otherwise()):
            yield
        return
    state.underway += 1
    try:
        with dealt_with(), rowcounts.counting() as count:
            yield
        changed = difference(count)
        state.touch(otherwise() if changed is None else changed)
    except BaseException:  # after the statement, too: a time limit may end anything
        state.touch(otherwise())
        raise
    finally:
        state.underway -= 1


@contextmanager
def at_once(connection: BaseDatabaseWrapper, changed: Iterable[str]) -> Iterator[None]:
    """Around a statement that commits what it changes."""
    state = state_of(connection)
    write = get_engine().new_write()
    write.touch(changed)
    _place_marks(state, write)
    try:
        with dealt_with():
            yield
    except BaseException as error:
        _after_failure(connection, write, error)
        raise
    if is_open(connection):
        # It began a transaction in a way that nobody saw; that one's end releases.
        state.raw_transaction, state.write = True, write
    else:
        _release(state, write)


def may_be_of_its_own(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement may be put into :func:`of_its_own`.

    In autocommit, wrappers (``connection.execute_wrapper``) may repeat it, or run others beside it: these
    are not to end as it does.
    """
    return not connection.execute_wrappers or state_of(connection).in_transaction


@contextmanager
def of_its_own(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """In a transaction: the one that is open, or one that begins and ends with the block.

    It is one of the driver's, and not logged: Django goes on to believe in autocommit.
    """
    state = state_of(connection)
    if state.in_transaction or is_open(connection):
        yield
        return
    # As Django does before a statement: the connection may be one that the server has closed since.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    try:
        _say(connection, _BEGIN[connection.vendor])
        state.raw_transaction = True
        if connection.vendor == "sqlite":
            # Nobody else can commit: what it sees is the latest.
            state.sight.level = Level.STATEMENT
        yield
        with committing(connection):
            _say(connection, "COMMIT")
    except BaseException as error:
        _give_up(state, error)
        raise


#: SQLite's waits for the lock of writers, as a single UPDATE does.
_BEGIN = {"postgresql": "BEGIN", "sqlite": "BEGIN IMMEDIATE"}


def _say(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.wrap_database_errors:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(statement)
        finally:
            cursor.close()


def _give_up(state: ConnectionState, error: BaseException) -> None:
    """A transaction of our own failed, perhaps at its COMMIT."""
    connection = state.connection
    try:
        was_open = is_open(connection)
        if was_open:
            _say(connection, "ROLLBACK")
        has_ended = was_open or _has_certainly_ended(connection, error)
    except Exception:  # the connection is gone
        has_ended = False
    if state.write is not None and not has_ended:
        state.write.abandon()
    with rolling_back(connection):
        pass


def disturbing(connection: BaseDatabaseWrapper, table: str) -> None:
    """Before an INSERT or a DELETE: what the transaction reads of single rows of *table* is its own until COMMIT."""
    state = state_of(connection)
    if state.in_transaction:
        database = state.database
        state.inserted.add(tags.epoch(database, table))
        state.inserted.add(tags.which_rows_of(database, table, tags.KEY, tags.UNKNOWN))


@contextmanager
def committing(connection: BaseDatabaseWrapper, *, is_prepared: bool = False) -> Iterator[None]:
    """Around COMMIT: marks before it, release after it, before any ``on_commit`` callback.

    If it *is_prepared*, this is the second phase, and what it changes is in the outbox already. A
    COMMIT that fails leaves the marks where they are; the ROLLBACK or the close that follows knows
    what became of it.
    """
    state = state_of(connection)
    if state.write is not None:
        state.follow_engine()
        _place_marks(state, state.write, is_prepared=is_prepared)
    yield
    if state.write is not None:
        _release(state, state.write)
    state.forget_transaction()


@contextmanager
def perhaps_ending(connection: BaseDatabaseWrapper, changed: Iterable[str]) -> Iterator[None]:
    """Around several statements of which one may end the open transaction, and another begin the next.

    What was committed is released. What is open afterwards may have changed the same.
    """
    state = state_of(connection)
    state.touch(changed)
    changed = set(state.dirty)
    with ending(connection, committing), dealt_with():
        yield
    if is_open(connection):
        state.raw_transaction = True
        state.touch(changed)


Ending = Callable[[BaseDatabaseWrapper], AbstractContextManager[None]]


@contextmanager
def ending(connection: BaseDatabaseWrapper, how: Ending) -> Iterator[None]:
    """Around SQL that ends the transaction as *how* expects it to: nobody says ROLLBACK after a COMMIT that fails."""
    try:
        with how(connection):
            yield
    except BaseException as error:
        if not is_open(connection) and _has_certainly_ended(connection, error):
            with rolling_back(connection):
                pass
        raise


@contextmanager
def rolling_back(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Around ROLLBACK of the whole transaction. One to a savepoint is the state's own business."""
    yield
    state = state_of(connection)
    if state.write is not None:
        # Marked already: the COMMIT failed, and the server has now said that it is over.
        state.write.release() if state.write.is_marked else state.write.forget()
    state.forget_transaction()


@contextmanager
def closing(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Around the end of a connection, with whatever it had open."""
    state = state_of(connection)
    try:
        yield
    finally:
        if state.write is not None:
            state.write.abandon()
        state.forget_connection()


def _release(state: ConnectionState, write: Write) -> None:
    """What *write* has marked was committed."""
    if tags.database(state.database) in write.dirty:
        triggered.forget()  # there may be others by now
    write.release()


def _place_marks(state: ConnectionState, write: Write, *, is_prepared: bool = False) -> None:
    unmarked = write.mark()
    if not unmarked:
        return
    if conf.get("ON_OUTAGE") == "refuse":
        changed = set(write.dirty)
        write.release(is_committed=False)  # a slow server may place the marks yet
        if is_prepared:
            write.touch(changed)  # it is still to be committed
        raise WriteRefused("The cache's store is away, and LAYERCACHE['ON_OUTAGE'] is 'refuse'.")
    get_engine().outages.owe()
    if not is_prepared:
        outbox.put(state, unmarked)


def is_open(connection: BaseDatabaseWrapper) -> bool:
    """Whether the driver has a transaction open, although Django has autocommit on."""
    status = _status(connection)
    if status is not None:
        return status in {_IN_TRANSACTION, _IN_FAILED_TRANSACTION}
    return bool(getattr(connection.connection, "in_transaction", False))  # SQLite


def is_sound(connection: BaseDatabaseWrapper) -> bool:
    """Whether the driver's open transaction takes statements."""
    return _status(connection) in {_IN_TRANSACTION, None}


def _status(connection: BaseDatabaseWrapper) -> int | None:
    """What PostgreSQL says of the connection; ``None`` where nobody says anything."""
    info = getattr(connection.connection, "info", None)
    status = getattr(info, "transaction_status", None)
    return None if status is None else int(status)


def _after_failure(connection: BaseDatabaseWrapper, write: Write, error: BaseException) -> None:
    """A statement in autocommit failed: did it happen?"""
    if _has_certainly_ended(connection, error):
        write.release()
    else:
        write.abandon()


def _has_certainly_ended(connection: BaseDatabaseWrapper, error: BaseException) -> bool:
    if connection.vendor == "sqlite":
        return True  # it runs in this thread
    if isinstance(error, (OperationalError, InterfaceError, InternalError)):
        # The server may still be at it, unless it answers on the same connection.
        return connection.connection is not None and connection.is_usable()
    status = _status(connection)
    if status is None:
        return isinstance(error, Exception)
    # Whatever else was raised (a time limit) may have come in while the server was at it.
    return status in {_IDLE, _IN_TRANSACTION, _IN_FAILED_TRANSACTION}
