"""What the tests of killed and stopped servers do with a store, whichever it is."""

import time
from collections.abc import Callable

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.base import Entry, Store, TokenState

LEASE = 30.0

OPERATIONS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("k", ["a"]),
    "read_many": lambda store: store.read_many([("k", ["a"])]),
    "write": lambda store: store.write("k", Entry({"a": "t"}, b"x"), 60),
    "mark": lambda store: store.mark("w", ["a"], LEASE),
    "release": lambda store: store.release("w", ["a"]),
    "delete": lambda store: store.delete("k"),
    "reset": lambda store: store.reset(),
    "end_grace": lambda store: store.end_grace("0" * 24),
}


def until_back(store: Store, within: float = 10) -> None:
    """Ask until the store answers; that must not take long once the server is there."""
    end = time.monotonic() + within
    while True:
        try:
            store.read(None, ())
            return
        except StoreUnavailable:
            assert time.monotonic() < end, "the store never came back"
            time.sleep(0.02)


def token_of(store: Store, tag: str) -> TokenState:
    return store.read(None, [tag]).states[tag]
