"""An engine to play with, and stores that misbehave."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django_layercache.engine import Engine, Recipe
from django_layercache.exceptions import StoreUnavailable, Undecodable, Unstorable
from django_layercache.stores.local import LocalStore


class TextCodec:
    """Text, and nothing else; "damaged" comes back as bytes that nobody can read."""

    def dumps(self, value: Any) -> bytes:
        if value is None:
            return b"\x00"
        if not isinstance(value, str):
            raise Unstorable(f"{value!r} is no text")
        return b"\xff" if value == "damaged" else value.encode()

    def loads(self, data: bytes) -> Any:
        if data == b"\x00":
            return None
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Undecodable("no text") from error


def recipe(key: str = "k", *tags: str, **parts: Any) -> Recipe:
    return replace(Recipe("tests", key, TextCodec(), 300.0, tags), **parts)


class FailingStore(LocalStore):
    """A local store that can be away. ``asked`` counts what was tried."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.away: set[str] = set()
        self.asked: list[str] = []

    def _try(self, name: str) -> None:
        self.asked.append(name)
        if name in self.away or "all" in self.away:
            raise StoreUnavailable("away")

    def read(self, *args: Any) -> Any:
        self._try("read")
        return super().read(*args)

    def read_many(self, *args: Any) -> Any:
        self._try("read_many")
        return super().read_many(*args)

    def write(self, *args: Any) -> None:
        self._try("write")
        super().write(*args)

    def mark(self, *args: Any) -> None:
        self._try("mark")
        super().mark(*args)

    def release(self, *args: Any) -> None:
        self._try("release")
        super().release(*args)

    def reset(self) -> None:
        self._try("reset")
        super().reset()


class RemoteStore(FailingStore):
    """One whose calls are made off the event loop."""

    in_process = False


class Builder:
    """Builds texts, and counts."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        value = self.values.pop(0) if self.values else f"built {self.calls}"
        if isinstance(value, Exception):
            raise value
        return value

    async def asynchronously(self) -> Any:
        return self()


def change(engine: Engine, *tags: str, during: Callable[[], None] = lambda: None) -> None:
    """Commit a change of *tags*; *during* is called between mark and release."""
    write = engine.new_write()
    write.touch(tags)
    write.mark()
    during()
    write.release()


def get(engine: Engine, value: str) -> str:
    """What *engine* has under "k", which depends on "a"; *value* if it has to be built."""
    return engine.get_or_build(recipe("k", "a"), Builder(value))


def until_stored(engine: Engine, value: str) -> None:
    """Build *value* until it is stored."""
    end = time.monotonic() + 10
    while get(engine, "another") != value:
        assert time.monotonic() < end, "nothing is ever stored again"
        engine.refresh(recipe("k", "a"), Builder(value))
        time.sleep(0.02)
