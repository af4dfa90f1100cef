"""What the commands have in common: how they fail, and what they look at first."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.management.base import CommandError
from django.db import DatabaseError

from django_layercache import conf
from django_layercache.exceptions import LayerCacheError, StoreUnavailable
from django_layercache.handlers import engines, make_store

__all__ = ["AWAY", "ask_store", "in_a_line", "plain_errors", "refuse_local"]

#: Exit code where the store does not answer. (2 is that of wrong arguments, 1 of every other error.)
AWAY = 3


@contextmanager
def plain_errors() -> Iterator[None]:
    """Inside, what a server or the settings are to blame for is a ``CommandError``, not a traceback."""
    try:
        yield
    except StoreUnavailable as error:
        raise CommandError(f"The store is away: {in_a_line(error)}", returncode=AWAY) from error
    except LayerCacheError as error:
        raise CommandError(in_a_line(error)) from error
    except DatabaseError as error:
        raise CommandError(f"The database says: {in_a_line(error)}") from error


def in_a_line(error: object) -> str:
    """What *error* says, without the line breaks that drivers put into it."""
    return " ".join(str(error).split())


def refuse_local() -> None:
    """What a command does to a store of its own process, nobody hears of."""
    alias = conf.get("CACHE")
    if alias is None or isinstance(caches[alias], LocMemCache):
        raise CommandError(
            "The store is `local`, or a LocMemCache: each process has one of its own, and no other would hear "
            "of this. Set LAYERCACHE['CACHE'] to the alias of a cache that the processes share."
        )


def ask_store() -> None:
    """Find out whether the store answers. Whoever asks through an engine is told so by the log, too."""
    store = make_store(engines.longest_grace)
    try:
        store.read(None, ())
    finally:
        store.close()
