"""Wires to the primary that Sentinels look after.

A primary that was given up answers on old connections as if nothing had happened, until its
Sentinels reach it: with tokens from before the first commit that its successor has seen. So the
Sentinels are asked where the primary is not only when a wire is made, but once in a while as well,
and before the wires are used. Of what they say the latest counts, not the first: the Sentinel that
a partition has left with the old primary answers, too.

What they say counts for as long as it cannot have changed. Each of them knows for how long it has
been waiting for the primary's answer, and it takes as many as their quorum to lose patience before
there is a successor. One that does not answer us may have lost it already.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection

from django_layercache.exceptions import InvalidSetting, StoreUnavailable
from django_layercache.forks import renewed_in_children
from django_layercache.stores.breaker import Breaker
from django_layercache.stores.wire import CONNECT_TIMEOUT, RESPONSE_TIMEOUT, Wire, Wires

__all__ = ["ASK_EVERY", "SentinelWires", "has_sentinels"]

#: In seconds. A successor that an administrator has asked for may go unnoticed for so long.
ASK_EVERY = 1.0

Address = tuple[str, int]


def has_sentinels(pool: redis.ConnectionPool) -> bool:
    """Whether *pool* is redis-py's ``SentinelConnectionPool``."""
    return hasattr(pool, "sentinel_manager")


class Primary:
    """Where the primary of a service is. What redis-py's connections ask for their address.

    *pool* knows the Sentinels and their credentials.
    """

    is_master = True
    check_connection = False

    def __init__(self, pool: Any) -> None:
        manager = pool.sentinel_manager
        self.service_name: str = pool.service_name
        self._min_others: int = manager.min_other_sentinels
        #: What the project says that the address is, whatever the Sentinels say.
        self._forced: str | None = getattr(manager, "_force_master_ip", None)
        #: Where it was found, and until when that counts: by the monotonic clock.
        self.address: Address | None = None
        self.counts_until = 0.0
        self._sentinels = [
            (redis.Redis(**_patient(sentinel.connection_pool)), Breaker())
            for sentinel in manager.sentinels
        ]

    def get_master_address(self) -> Address:
        """Its address."""
        address = self.address
        if address is None or time.monotonic() >= self.counts_until:
            address, _ = self.find()
        return address

    def find(self) -> tuple[Address, float]:
        """Ask where it is, and for how many seconds from before this call on nobody else can be it.

        Of what the Sentinels say the last failover counts that any of them knows of.
        """
        states = [state for state in map(self._ask, self._sentinels) if state is not None]
        if not states:
            raise RedisConnectionError(f"no Sentinel knows {self.service_name!r}")
        latest = max(states, key=_epoch)
        silent = min(latest["num-other-sentinels"] + 1, len(self._sentinels)) - len(states)
        patience = [0.0] * silent
        patience += [_patience(state) for state in states if _epoch(state) == _epoch(latest)]
        enough = min(int(latest["quorum"]), len(patience))
        return (self._forced or latest["ip"], int(latest["port"])), sorted(patience)[enough - 1]

    def _ask(self, sentinel: tuple[redis.Redis, Breaker]) -> dict[str, Any] | None:
        client, breaker = sentinel
        try:
            breaker.check()
            states: Any = client.sentinel_masters()
        except StoreUnavailable:
            return None
        except (RedisError, OSError) as error:
            breaker.failed(error)
            return None
        breaker.succeeded()
        state: dict[str, Any] | None = states.get(self.service_name)
        is_known = state is not None and state["num-other-sentinels"] >= self._min_others
        return state if is_known else None


class SentinelWires(Wires):
    """Wires to wherever the primary is."""

    def __init__(
        self, pool: redis.ConnectionPool, greet: Callable[[Wire], None] = lambda wire: None
    ) -> None:
        if not issubclass(pool.connection_class, SentinelManagedConnection):
            raise InvalidSetting(
                "redis-py has no rediss:// for what Sentinels look after. Say redis://, and "
                "'ssl': True among the options of the connections."
            )
        super().__init__(pool, greet)
        self._primary = Primary(pool)
        self.options["connection_pool"] = self._primary
        self._ask_at = 0.0
        self._asking = renewed_in_children(threading.Lock())

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._ask_at:
            return False
        # One asks in time, and a Sentinel that hangs keeps nobody else waiting.
        return now >= self._primary.counts_until or not self._asking.locked()

    def follow(self) -> None:
        is_first = self._asking.acquire(blocking=False)
        try:
            self._follow()
        finally:
            if is_first:
                self._asking.release()

    def _follow(self) -> None:
        now = time.monotonic()
        if now < self._ask_at:
            return
        address, patience = self._primary.find()
        if address != self._primary.address:
            self.close()  # before anybody may use them again
            self._primary.address = address
        if patience <= 0:
            raise RedisConnectionError(
                "so many Sentinels are silent, or miss it, that it may have a successor"
            )
        self._primary.counts_until = now + patience
        self._ask_at = now + min(patience / 2, ASK_EVERY)

    def close(self) -> None:
        self._doubt()
        super().close()

    def failed(self, error: Exception) -> StoreUnavailable:
        self._doubt()
        return super().failed(error)

    def _doubt(self) -> None:
        self._ask_at = self._primary.counts_until = 0.0


def _epoch(state: dict[str, Any]) -> int:
    return int(state["config-epoch"])


def _patience(state: dict[str, Any]) -> float:
    """How many seconds the Sentinel that says *state* waits before it misses the primary."""
    is_cut_off = "disconnected" in state["flags"]
    waited = state["last-ok-ping-reply" if is_cut_off else "last-ping-sent"]
    return float(state["down-after-milliseconds"] - waited) / 1000


def _patient(pool: redis.ConnectionPool) -> dict[str, Any]:
    """How to reach a Sentinel, without waiting longer than for the server itself."""
    options = pool.connection_kwargs
    names = ("host", "port", "username", "password", "socket_connect_timeout", "socket_timeout")
    given = {name: options[name] for name in names if options.get(name) is not None}
    if issubclass(pool.connection_class, SSLConnection):
        given |= {name: options[name] for name in options if name.startswith("ssl_")}
        given["ssl"] = True
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": RESPONSE_TIMEOUT,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        **given,
    }
