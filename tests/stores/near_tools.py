"""A near tier to which a server pushes, and waiting for that."""

import time
from collections.abc import Callable
from typing import Any

from django_layercache.stores.near import NearStore
from django_layercache.stores.near_pushed import PushedTokens
from django_layercache.stores.redis import RedisStore


def until(happens: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until *happens* says so."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.002)


def is_known(known: PushedTokens, tag: str) -> bool:
    """Whether *tag* need not be asked for, as far as has been heard by now."""
    tokens = known.tokens()
    return tokens is not None and tag in tokens.by_tag


class Tier:
    """A near tier, and somebody else on the same server."""

    def __init__(self, new_store: Callable[[], RedisStore]) -> None:
        self.shared, self.other = new_store(), new_store()
        self.known = PushedTokens(self.shared, pause=0.02, bound=5.0)
        self.near = NearStore(self.shared, self.known)
        self.asked = 0
        fetch = self.near._fetch

        def counting(wanted: Any) -> Any:
            self.asked += 1
            return fetch(wanted)

        self.near._fetch = counting  # type: ignore[method-assign]

    def knows(self, *tags: str) -> bool:
        """Read *tags*, and say whether that was possible without asking."""
        before = self.asked
        self.near.read(None, tags)
        return self.asked == before

    def learn(self, *tags: str) -> None:
        until(lambda: self.knows(*tags))

    def link(self) -> Any:
        return self.known._link

    def close(self) -> None:
        self.near.close()
        self.other.close()
