"""The `redis` store: Redis or Valkey, one server. Each operation is one script, hence atomic."""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from django_layercache.exceptions import StoreUnavailable, Undecodable
from django_layercache.serializers.reports import report_undecodable
from django_layercache.stores import _lua, entries
from django_layercache.stores.base import Entry, Reading, Token, TokenState
from django_layercache.stores.breaker import Breaker

__all__ = ["RedisStore"]

#: Seconds, where the project's own connection options say nothing.
CONNECT_TIMEOUT = 0.25
RESPONSE_TIMEOUT = 0.5

_TOKEN_TTL = 7 * 24 * 3600
_SCRIPTS = ("read", "mark", "release", "reset", "end_grace", "identify")


class RedisStore:
    """Tokens, marks and entries in one Redis server.

    *pool* is the connection pool that the project's cache alias uses: host, credentials,
    TLS and the rest are taken from it. The connections are our own, because each of them
    must check the server's identity before its first command, and must not wait longer than
    a visitor would.
    """

    exact = True
    in_process = False

    def __init__(
        self,
        pool: redis.ConnectionPool,
        *,
        namespace: str = "",
        grace: float = 1.0,
        now: str = _lua.NOW,
    ) -> None:
        self._prefix = f"layercache:1:{{{namespace}}}:"
        self._register = self._prefix + "register"
        self._grace = round(grace * 1e6)
        self._sources = {name: _lua.source(name, now) for name in _SCRIPTS}
        self._digests = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in self._sources.items()
        }
        self._breaker = Breaker()
        self._pool = self._own_pool(pool)
        self._client = redis.Redis(connection_pool=self._pool)

    def _own_pool(self, pool: redis.ConnectionPool) -> redis.ConnectionPool:
        options = dict(pool.connection_kwargs)
        options.setdefault("socket_connect_timeout", CONNECT_TIMEOUT)
        options.setdefault("socket_timeout", RESPONSE_TIMEOUT)
        for name in ("socket_connect_timeout", "socket_timeout"):
            if options[name] is None:
                options[name] = CONNECT_TIMEOUT if "connect" in name else RESPONSE_TIMEOUT
        options["decode_responses"] = False
        options["redis_connect_func"] = self._on_connect
        # Once, for a pooled connection that the server has closed meanwhile. A time-out is
        # not tried again: the visitor has waited already.
        options["retry"] = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        options["retry_on_timeout"] = False
        return redis.ConnectionPool(connection_class=pool.connection_class, **options)

    def _on_connect(self, connection: Any) -> None:
        try:
            connection.on_connect()
            self._identify(connection)
        except BaseException:
            connection.disconnect()  # it must not be used before it knows its server
            raise

    def _identify(self, connection: Any) -> None:
        connection.send_command("INFO", "server")
        info = connection.read_response()
        text = info.decode() if isinstance(info, bytes) else str(info)
        identity = next(
            (line[7:].strip() for line in text.splitlines() if line.startswith("run_id:")),
            "unknown",
        )
        arguments = self._arguments(identity)
        connection.send_command("EVAL", self._sources["identify"], 1, self._register, *arguments)
        connection.read_response()

    # -- the contract ---------------------------------------------------------------------

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        reply = self._run("read", self._keys(key), *tags)
        return self._reading(key, tags, reply)

    def read_many(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Reading]:
        replies = self._run_many(
            "read", [(self._keys(key), self._arguments(*tags)) for key, tags in requests]
        )
        return [
            self._reading(key, tags, reply)
            for (key, tags), reply in zip(requests, replies, strict=True)
        ]

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        expiry = [] if timeout is None else ["PX", max(1, round(timeout * 1000))]
        self._send([["SET", self._entry_key(key), entries.pack(key, entry), *expiry]])

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        self._run("mark", [self._register], writer, round(lease * 1e6), *tags)

    def release(self, writer: str, tags: Iterable[str]) -> None:
        self._run("release", [self._register], writer, *tags)

    def delete(self, key: str) -> None:
        self._send([["DEL", self._entry_key(key)]])

    def reset(self) -> None:
        self._run("reset", [self._register])

    def end_grace(self, sequence: Token) -> None:
        self._run("end_grace", [self._register], sequence[:8])

    def close(self) -> None:
        self._pool.disconnect()

    # -- one round trip -------------------------------------------------------------------

    def _run(self, name: str, keys: Sequence[str], *arguments: Any) -> Any:
        (reply,) = self._run_many(name, [(keys, self._arguments(*arguments))])
        return reply

    def _run_many(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]
    ) -> list[Any]:
        """The script *name* with each of these keys and arguments."""
        tails = [[len(keys), *keys, *arguments] for keys, arguments in calls]
        try:
            return self._send([["EVALSHA", self._digests[name], *tail] for tail in tails])
        except _UnknownScript:
            return self._send([["EVAL", self._sources[name], *tail] for tail in tails])

    def _send(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self._breaker.check()
        try:
            replies = self._exchange_again(commands)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._breaker.failed()
            raise StoreUnavailable(f"the Redis server does not answer: {error}") from error
        except RedisError as error:
            raise StoreUnavailable(f"the Redis server cannot be talked to: {error}") from error
        self._breaker.succeeded()
        for reply in replies:
            if isinstance(reply, NoScriptError):
                raise _UnknownScript
            if isinstance(reply, Exception):
                # It answers, but refuses: out of memory, read-only, not permitted.
                raise StoreUnavailable(f"the Redis server refuses: {reply}") from reply
        return replies

    def _exchange_again(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        # Once more, for a pooled connection that the server has closed meanwhile. A time-out
        # is not tried again: the visitor has waited already.
        try:
            return self._exchange(commands)
        except RedisConnectionError:
            return self._exchange(commands)

    def _exchange(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send all *commands* at once; the reply to each, or the error that it got."""
        encoded = [[_encoded(part) for part in command] for command in commands]
        connection: Any = self._pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(encoded))
            return [_reply(connection) for _ in commands]
        except BaseException:
            # Interrupted (a soft time limit, a signal's handler): a reply may be under way, and
            # whoever takes this connection next would take it for theirs.
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)

    def _arguments(self, *arguments: Any) -> list[Any]:
        return [self._prefix, secrets.token_hex(4), self._grace, _TOKEN_TTL, *arguments]

    def _keys(self, key: str | None) -> list[str]:
        return [self._register] if key is None else [self._register, self._entry_key(key)]

    def _entry_key(self, key: str) -> str:
        return f"{self._prefix}e:{key}"

    def _reading(self, key: str | None, tags: Sequence[str], reply: Sequence[bytes]) -> Reading:
        data, sequence, in_grace, *packed = reply
        entry, damage = None, ""
        if key is not None and data is not None:
            entry, damage = _unpacked(key, data)
        states: dict[str, TokenState] = {
            tag: state.decode("latin-1") or None  # hostile ones too: any bytes can be decoded
            for tag, state in zip(chain(tags, entry.tokens if entry else ()), packed, strict=False)
        }
        if entry is not None and not entry.tokens.keys() <= states.keys():
            entry = None  # the script could not read the header that we could
        return Reading(entry, states, sequence.decode("latin-1"), bool(in_grace), damage)


class _UnknownScript(Exception):
    """The server was restarted, or has forgotten its scripts."""


def _unpacked(key: str, data: bytes) -> tuple[Entry | None, str]:
    """The entry, or what is wrong with it."""
    try:
        return entries.unpack(key, data), ""
    except Undecodable as error:
        report_undecodable("entry", str(error))
        return None, str(error)


def _encoded(part: Any) -> Any:
    """Keys and tags may hold whatever a visitor sends, half a surrogate pair included."""
    return part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
