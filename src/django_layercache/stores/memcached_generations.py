"""The generations of a memcached server's tokens: which one counts, when another begins, when it is trusted.

A generation has a head, a sequence and a register. If one of them is gone, the server has lost
data: a new generation begins, in which nothing is settled until a grace is over. The grace is
counted from a time at which everybody could see that it had begun.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.memcached_commands import (
    Add,
    Cas,
    Command,
    Get,
    Item,
    Stats,
    Steps,
)
from django_layercache.stores.memcached_items import Head, Keys

__all__ = ["LONGEST_PAUSE", "Generations", "server_time", "tries"]

#: How often somebody else may come in between.
_TRIES = 100
#: Seconds between asking for the time and having placed a mark whose lease begins with it.
LONGEST_PAUSE = 1.0


def server_time(stats: Mapping[bytes, bytes]) -> float:
    """The server's clock. It shows whole seconds."""
    return float(stats[b"time"])


def tries() -> Iterator[int]:
    """Numbers, as often as one may begin anew; then :exc:`StoreUnavailable`."""
    yield from range(_TRIES)
    raise StoreUnavailable("memcached's items are changed by others all the time")


class Generations:
    """Those of one namespace on one server.

    *slack* is what is added to every lease and grace, in seconds: one for a clock that shows whole
    seconds, one for what passes between asking for the time and placing the mark.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        grace: float,
        clock: Callable[[Mapping[bytes, bytes]], float] = server_time,
        slack: float = 1.0 + LONGEST_PAUSE,
    ) -> None:
        self._keys = keys
        self._grace = grace
        self._clock = clock
        self._slack = slack
        #: The last one that was seen. Whoever goes by it looks, in the same pipeline, whether it still counts.
        self._head: Head | None = None

    def reset(self, identity: str) -> Steps[None]:
        """Begin a generation. The register stays, as the marks' writers have not committed yet."""
        for _ in tries():
            (top,) = yield [Get((self._keys.head,))]
            item = top.get(self._keys.head)
            head = yield from self._understood(identity, item)
            if head is not None and (yield from self._begin(identity, item, head)):
                return

    def end_grace(self, identity: str, generation: str) -> Steps[None]:
        """Trust the server, if it is in *generation*."""
        for _ in tries():
            (top,) = yield [Get((self._keys.head,))]
            item = top.get(self._keys.head)
            head = yield from self._understood(identity, item)
            if head is None:
                continue
            if head.generation != generation or (yield from self._change(head, item, 0.0)):
                return

    # -- the head -------------------------------------------------------------------------

    def _understood(self, identity: str, item: Item | None) -> Steps[Head | None]:
        """The head in *item*. If it is of no use a new generation is begun, and there is none for now."""
        head = None if item is None else Head.unpack(item.value)
        if head is None or head.identity != identity:
            yield from self._begin(identity, item, None)
            return None
        self._head = head
        return head

    def _begin(
        self,
        identity: str,
        item: Item | None,
        kept: Head | None,
        *,
        lost: Head | None = None,
    ) -> Steps[bool]:
        """Begin a generation in place of the one in *item*; whether nobody else did.

        Its marks are those of *kept*, or unknown. It is *lost* of which somebody has found that
        there is no register any more.
        """
        if lost is not None and (item is None or Head.unpack(item.value) != lost):
            return False  # somebody else has begun one meanwhile
        now = yield from self._now()
        generation = secrets.token_hex(4)
        if kept is None:
            trusted_from = None if self._grace else 0.0
            head = Head(generation, secrets.token_hex(4), trusted_from, identity)
        else:
            head = kept._replace(generation=generation)
        commands: list[Command] = [Add(self._sequence(head), b"%d" % round(now * 1e6))]
        if kept is None:
            commands.append(Add(self._keys.register(head), b""))
        commands.append(self._placing(head, item))
        *_, is_placed = yield commands
        return bool(is_placed)

    def _is_trusted(self, head: Head, item: Item) -> Steps[bool]:
        """Whether no mark can have been lost of which somebody still relies on."""
        if head.trusted_from == 0:
            return True
        now, trusted_from = (yield from self._now()), head.trusted_from
        latest = now + self._grace + self._slack
        if trusted_from is None or trusted_from > latest + 60:
            # Counted from here, as everybody can see by now that it has begun.
            yield from self._change(head, item, latest)
            return False
        return now >= trusted_from and (yield from self._change(head, item, 0.0))

    def _change(self, head: Head, item: Item | None, trusted_from: float) -> Steps[bool]:
        (is_placed,) = yield [self._placing(head._replace(trusted_from=trusted_from), item)]
        return bool(is_placed)

    def _placing(self, head: Head, item: Item | None) -> Command:
        key, value = self._keys.head, head.pack()
        return Add(key, value) if item is None else Cas(key, value, item.unique)

    # -- odds and ends --------------------------------------------------------------------

    def _now(self) -> Steps[float]:
        (stats,) = yield [Stats()]
        return self._clock(stats)

    def _sequence(self, head: Head) -> bytes:
        return self._keys.sequence(head)
