"""The `redis` store: Redis or Valkey, one server. Each operation is one script, hence atomic."""

import hashlib
import re
import secrets
from collections.abc import Generator, Iterable, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

import redis

from django_layercache.exceptions import StoreUnavailable, Undecodable
from django_layercache.serializers.reports import report_undecodable
from django_layercache.stores import _lua, entries
from django_layercache.stores._recall import Recall
from django_layercache.stores.base import Entry, Reading, Token, TokenState
from django_layercache.stores.loops import Lines
from django_layercache.stores.resp import Refusal, packed
from django_layercache.stores.sentinel import SentinelWires, has_sentinels
from django_layercache.stores.steps import awaited_to_the_end, carried_out
from django_layercache.stores.wire import CONNECT_TIMEOUT, RESPONSE_TIMEOUT, Wire, Wires

__all__ = ["CONNECT_TIMEOUT", "RESPONSE_TIMEOUT", "RedisStore", "Request", "Steps"]

_TOKEN_TTL = 7 * 24 * 3600
_PULSE_TTL = 5
#: A mark that did not arrive at the replicas within so many seconds is one that could not be placed.
_ACKNOWLEDGED_IN = 0.1
#: A promoted replica that has been up for less than so many seconds is not told from a server that
#: was restarted with old data; the servers' clocks differ by less.
FED_FOR = 60.0
_INVALIDATING = ("mark", "release", "reset")
_SCRIPTS = ("read", "mark", "release", "reset", "end_grace", "identify")

T = TypeVar("T")


class Request(NamedTuple):
    """Commands for one round trip: their bytes, and how many they are."""

    commands: bytes
    number: int = 1


#: An operation without its I/O: it yields what to send, is sent the replies, and returns its result.
#: What to send is a :class:`Request`; in a cluster there is more to it.
Steps = Generator[Any, Any, T]


class RedisStore:
    """Tokens, marks and entries in one Redis server.

    *pool* is the connection pool that the project's cache alias uses: host, credentials,
    TLS and the rest are taken from it. The connections are our own, because each of them
    must check the server's identity before its first command, must not wait longer than
    a visitor would, and must not take longer than the server does.

    With *replicas*, everything that invalidates has to be acknowledged by so many of them, and a
    replica that is promoted is trusted. Without, no other server ever is.
    """

    exact = True
    in_process = False
    #: Whether :meth:`track` can be called.
    pushes = True

    def __init__(
        self,
        pool: redis.ConnectionPool,
        *,
        namespace: str = "",
        grace: float = 1.0,
        replicas: int = 0,
        now: str = _lua.NOW,
    ) -> None:
        self._replicas = replicas
        self._server: bytes | None = None
        self._prepare(f"layercache:1:{{{namespace}}}:", grace, now)
        self._wires = (SentinelWires if has_sentinels(pool) else Wires)(pool, self._identify)
        self._lines = Lines(self._wires)
        #: For what is not hot; on the project's own connections.
        self.client = redis.Redis(connection_pool=pool)

    def _prepare(self, prefix: str, grace: float, now: str, whom: str = "") -> None:
        self._prefix = prefix
        self._register = self._prefix + "register"
        self._grace = round(grace * 1e6)
        self._sources = {name: _lua.source(name, now) for name in _SCRIPTS}
        self._digests = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in self._sources.items()
        }
        self._recall = Recall(self._prefix, self._register, whom)

    def _identify(self, wire: Wire) -> None:
        run_id, uptime = who_is_at(wire)
        fed_for = [round((uptime - FED_FOR) * 1e6)] if self._replicas else []
        arguments = self._arguments(run_id, *fed_for)
        command = packed("EVAL", self._sources["identify"], 1, self._register, *arguments)
        raise_refusals(wire.exchange(command, 1))
        before, self._server = self._server, run_id
        if self._replicas and before not in {None, run_id}:
            # It may lack what could not be marked, and is in the outbox. Who is told that the
            # store is away looks there before it trusts it again.
            raise ConnectionResetError("another server has taken over")

    # -- the contract ---------------------------------------------------------------------

    def read(self, key: str | None, tags: Sequence[str]) -> Reading:
        return self._run(self._read(key, tags))

    def read_many(self, requests: Sequence[tuple[str | None, Sequence[str]]]) -> list[Reading]:
        return self._run(self._read_many(requests))

    def write(self, key: str, entry: Entry, timeout: float | None) -> None:
        self._run(self._write(key, entry, timeout))

    def mark(self, writer: str, tags: Iterable[str], lease: float) -> None:
        self._run(self._script("mark", [self._register], writer, round(lease * 1e6), *tags))

    def release(self, writer: str, tags: Iterable[str]) -> None:
        self._run(self._script("release", [self._register], writer, *tags))

    def delete(self, key: str) -> None:
        self._run(_ask(Request(packed("DEL", self._entry_key(key)))))

    def reset(self) -> None:
        self._run(self._script("reset", [self._register]))

    def end_grace(self, sequence: Token) -> None:
        self._run(self._script("end_grace", [self._register], sequence[:8]))

    def close(self) -> None:
        self._wires.close()
        self._lines.close()

    async def aread(self, key: str | None, tags: Sequence[str]) -> Reading:
        return await self._arun(self._read(key, tags))

    async def aread_many(
        self, requests: Sequence[tuple[str | None, Sequence[str]]]
    ) -> list[Reading]:
        return await self._arun(self._read_many(requests))

    async def awrite(self, key: str, entry: Entry, timeout: float | None) -> None:
        await self._arun(self._write(key, entry, timeout))

    def describe(self) -> dict[str, Any]:
        """When the present generation ``began``, by the server's clock in seconds, and ``because`` of what.

        Where replicas have to acknowledge what invalidates: how many are ``connected``, and ``needed``.
        """
        command = packed("HMGET", self._register, "began", "because")
        ((began, because),) = self._run(_ask(Request(command)))
        facts: dict[str, Any] = {}
        if began is not None and because is not None:  # nobody has flushed it in this moment
            facts = {"began": int(began) / 1e6, "because": because.decode("latin-1")}
        if self._replicas:
            (info,) = self._run(_ask(Request(packed("INFO", "replication"))))
            connected = re.search(rb"connected_slaves:(\d+)", info)
            facts["replicas"] = {
                "connected": int(connected[1]) if connected else 0,
                "needed": self._replicas,
            }
        return facts

    # -- what the near tier needs -----------------------------------------------------------

    def track(self, pulse: str) -> Wire:
        """A new wire on which the server says unasked which tokens have changed, and each beat of *pulse*."""
        wire = self._wires_of_tags().connect()
        try:
            names = (f"{self._prefix}{name}" for name in ("t:", "generation", f"pulse:{pulse}"))
            prefixes = chain.from_iterable(("PREFIX", name) for name in names)
            raise_refusals(wire.exchange(packed("HELLO", "3"), 1))
            raise_refusals(wire.exchange(packed("CLIENT", "TRACKING", "ON", "BCAST", *prefixes), 1))
        except BaseException:
            wire.close()
            raise
        return wire

    def _wires_of_tags(self) -> Wires:
        return self._wires

    def beat(self, beat: str) -> None:
        """Say *beat*, which begins with a pulse, where tokens are changed."""
        name = f"{self._prefix}pulse:{beat}"
        self._run(_ask(Request(packed("SET", name, "1", "EX", _PULSE_TTL))))

    def changed(self, name: bytes) -> tuple[str, str]:
        """What has changed with the key *name*: ``t`` and a tag, ``pulse`` and which beat, or ``generation``."""
        text = name.decode("utf-8", "surrogatepass")
        kind, _, rest = text[len(self._prefix) :].partition(":")
        return kind, rest

    # -- the operations, without their I/O ------------------------------------------------

    def _read(self, key: str | None, tags: Sequence[str]) -> Steps[Reading]:
        recalled = self._recall.find(key, tags)
        if recalled is not None:
            replies = yield Request(recalled.commands, recalled.number)
            reading = recalled.reading(tags, replies)
            if reading is not None:
                return reading
        reply = yield from self._script("read", self._keys(key), *tags)
        return self._reading(key, tags, reply)

    def _read_many(
        self, requests: Sequence[tuple[str | None, Sequence[str]]]
    ) -> Steps[list[Reading]]:
        found: dict[int, Reading] = {}
        recalled = [(n, self._recall.find(*request)) for n, request in enumerate(requests)]
        known = [(n, one) for n, one in recalled if one is not None]
        if known:
            commands = b"".join([one.commands for _, one in known])
            replies = iter((yield Request(commands, sum(one.number for _, one in known))))
            for n, one in known:
                reading = one.reading(requests[n][1], list(islice(replies, one.number)))
                if reading is not None:
                    found[n] = reading
        rest = [n for n in range(len(requests)) if n not in found]
        if rest:
            calls = [(self._keys(requests[n][0]), self._arguments(*requests[n][1])) for n in rest]
            answers = yield from self._scripts("read", calls)
            for n, reply in zip(rest, answers, strict=True):
                found[n] = self._reading(*requests[n], reply)
        return [found[n] for n in range(len(requests))]

    def _write(self, key: str, entry: Entry, timeout: float | None) -> Steps[Any]:
        expiry = () if timeout is None else ("PX", max(1, round(timeout * 1000)))
        data = entries.pack(key, entry)
        (reply,) = yield Request(packed("SET", self._entry_key(key), data, *expiry))
        if not _is(reply, "OOM"):  # no room for an entry, which is nobody's loss
            raise_refusals([reply])

    def _script(self, name: str, keys: Sequence[str], *arguments: Any) -> Steps[Any]:
        (reply,) = yield from self._scripts(name, [(keys, self._arguments(*arguments))])
        return reply

    def _scripts(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]
    ) -> Steps[list[Any]]:
        """The script *name* with each of these keys and arguments."""
        tails = [(len(keys), *keys, *arguments) for keys, arguments in calls]
        wait = self._wait() if name in _INVALIDATING else []
        known = [packed("EVALSHA", self._digests[name], *tail) for tail in tails]
        replies: list[Any] = yield Request(b"".join(known + wait), len(known + wait))
        if any(map(_is_unknown_script, replies)):
            whole = [packed("EVAL", self._sources[name], *tail) for tail in tails]
            replies = yield Request(b"".join(whole + wait), len(whole + wait))
        raise_refusals(replies)
        if wait and replies.pop() < self._replicas:
            raise StoreUnavailable(f"fewer replicas than {self._replicas} have acknowledged it")
        return replies

    def _wait(self) -> list[bytes]:
        if not self._replicas:
            return []
        return [packed("WAIT", self._replicas, round(_ACKNOWLEDGED_IN * 1000))]

    # -- one round trip -------------------------------------------------------------------

    def _run(self, steps: Steps[T]) -> T:
        """What *steps* return, with the I/O that they ask for."""
        return carried_out(steps, lambda request: self._wires.exchange(*request))

    async def _arun(self, steps: Steps[T]) -> T:
        return await awaited_to_the_end(steps, lambda request: self._lines.exchange(*request))

    def _arguments(self, *arguments: Any) -> list[Any]:
        return [self._prefix, secrets.token_hex(4), self._grace, _TOKEN_TTL, *arguments]

    def _keys(self, key: str | None) -> list[str]:
        return [self._register] if key is None else [self._register, self._entry_key(key)]

    def _entry_key(self, key: str) -> str:
        return f"{self._prefix}e:{key}"

    def _reading(self, key: str | None, tags: Sequence[str], reply: Sequence[Any]) -> Reading:
        data, sequence, in_grace, left, *packed = reply
        entry, damage = None, ""
        if key is not None and data is not None:
            entry, damage = unpacked(key, data)
        states: dict[str, TokenState] = {
            tag: state.decode("latin-1") or None  # hostile ones too: any bytes can be decoded
            for tag, state in zip(chain(tags, entry.tokens if entry else ()), packed, strict=False)
        }
        if entry is not None and not entry.tokens.keys() <= states.keys():
            entry = None  # the script could not read the header that we could
        if entry is not None:
            self._recall.keep(key, states)
        position, seconds = sequence.decode("latin-1"), None if left == -1 else left / 1000
        return Reading(entry, states, position, bool(in_grace), damage, seconds)


def who_is_at(wire: Wire) -> tuple[bytes, int]:
    """The identity of the server, another one after a restart, and how many seconds it has been up."""
    (info,) = raise_refusals(wire.exchange(packed("INFO", "server"), 1))
    lines = (line.partition(b":") for line in bytes(info).splitlines())
    found = {name: value.strip() for name, _, value in lines}
    return found.get(b"run_id", b"unknown"), int(found.get(b"uptime_in_seconds", 0))


def _ask(request: Request) -> Steps[Any]:
    return raise_refusals((yield request))


def unpacked(key: str, data: bytes) -> tuple[Entry | None, str]:
    """The entry, or what is wrong with it."""
    try:
        return entries.unpack(key, data), ""
    except Undecodable as error:
        report_undecodable("entry", str(error))
        return None, str(error)


def _is_unknown_script(reply: Any) -> bool:
    """Whether the server was restarted, or has forgotten its scripts."""
    return _is(reply, "NOSCRIPT")


def _is(reply: Any, refusal: str) -> bool:
    return isinstance(reply, Refusal) and str(reply).startswith(refusal)


def raise_refusals(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Refusal):
            # It answers, but refuses: out of memory, read-only, not permitted.
            raise StoreUnavailable(f"the Redis server refuses: {reply}") from reply
    return replies
