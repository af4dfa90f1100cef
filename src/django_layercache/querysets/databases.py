"""Which database a connection is to: its content, and what a statement means there."""

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from enum import Enum
from types import FunctionType, NoneType
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache import conf

__all__ = ["Database", "is_primary", "options_of"]

_PROCESS = secrets.token_hex(8)
_NO_OPTIONS: Mapping[str, Any] = {}


def options_of(alias: str) -> Mapping[str, Any]:
    """What ``DATABASES`` of ``LAYERCACHE`` says of *alias*."""
    options = conf.mapping("DATABASES").get(alias)
    return options if options is not None and isinstance(options, Mapping) else _NO_OPTIONS


def is_primary(alias: str) -> bool:
    """Whether *alias* is not declared as a replica."""
    return options_of(alias).get("replica_of") is None


class Database:
    """The database of one connection object of Django's."""

    __slots__ = (
        "_content", "_identity", "_place", "_primary", "_private", "_settings", "connection",
    )  # fmt: skip

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._private = secrets.token_hex(8)
        self._place: tuple[Any, ...] = ()
        self._content = ""
        self._settings: Mapping[str, Any] | None = None
        self._identity: str | None = None
        self._primary: str | None = None

    @property
    def primary(self) -> str | None:
        """The alias of the one that this is declared to be a replica of."""
        if self._settings is not conf.user_settings():
            self._read_settings()
        return self._primary

    def _read_settings(self) -> None:
        options = options_of(self.connection.alias)
        self._identity, self._primary = options.get("identity"), options.get("replica_of")
        self._settings = conf.user_settings()

    @property
    def content(self) -> str:
        """Eight digits for the database's content: the same for two aliases of one database."""
        said = self.connection.settings_dict
        place: tuple[Any, ...] = said["NAME"], said.get("HOST"), said.get("PORT")
        if self._settings is not conf.user_settings():
            self._read_settings()
        if self._identity:
            place = (self._identity,)
        if place != self._place:
            self._content = self._digits(place)
            self._place = place
        return self._content

    def contents_called(self, name: str) -> Iterator[str]:
        """The digits of the database *name* on this server, as others know it."""
        said = self.connection.settings_dict
        yield self._digits((name, said.get("HOST"), said.get("PORT")))
        for options in conf.mapping("DATABASES").values():
            if isinstance(options, Mapping) and options.get("identity"):
                yield self._digits((options["identity"],))  # perhaps its own

    def _digits(self, place: tuple[Any, ...]) -> str:
        identity = (self.connection.vendor, *map(str, place), *self._lifetime(str(place[0])))
        return hashlib.blake2b(repr(identity).encode(), digest_size=4).hexdigest()

    def _lifetime(self, name: str) -> tuple[str, ...]:
        """What an in-memory database dies with, before another one takes its name."""
        if self.connection.vendor != "sqlite":
            return ()
        if name == ":memory:":
            return (self._private,)
        return (_PROCESS, str(os.getpid())) if "mode=memory" in name else ()

    @property
    def session(self) -> str:
        """What decides, beside the database's content, what a statement returns here.

        The time zone in which it shows times, the user whose rows it may see, the schemas that
        it looks for tables in.
        """
        connection, said = self.connection, self.connection.settings_dict
        options = _spelt(said.get("OPTIONS"), connection.alias)
        return repr((said.get("USER"), options, connection.timezone_name, settings.USE_TZ))


def _spelt(option: Any, alias: str) -> str:
    """The same text in every process, as far as that can be had.

    Of an object that does not tell what it is, there is nothing but where it was found: whatever
    it is, it is the same in all processes under the same *alias*.
    """
    if isinstance(option, Mapping):
        return repr(sorted((str(key), _spelt(value, alias)) for key, value in option.items()))
    if isinstance(option, (list, tuple)):
        return repr([_spelt(item, alias) for item in option])
    if isinstance(option, (set, frozenset)):
        return repr(sorted(_spelt(item, alias) for item in option))
    if isinstance(option, (str, bytes, int, float, Enum, NoneType)):
        return repr(option)
    if isinstance(option, (type, FunctionType)):
        return f"{option.__module__}.{option.__qualname__}"
    return f"{type(option).__module__}.{type(option).__qualname__} of {alias}"
