"""Memcached's protocol as the store speaks it, and that the model that is explored speaks it, too."""

import asyncio
import secrets
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_layercache.aliases import address_of
from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores.memcached_commands import (
    Add,
    Append,
    Cas,
    Command,
    Delete,
    Get,
    Incr,
    Item,
    Left,
    Refused,
    Set,
    Steps,
    pipeline,
)
from django_layercache.stores.memcached_replies import INCOMPLETE, Garbled, Reader, Section
from django_layercache.stores.memcached_wire import Connection, Server
from tests.engine.memcached_model import Held, carried_out
from tests.services import MemcachedServer


@pytest.fixture
def connection(memcached_server: MemcachedServer) -> Iterator[Connection]:
    made = Connection((memcached_server.host, memcached_server.port))
    yield made
    made.close()


def without_numbers(reply: Any) -> Any:
    return {key: item.value for key, item in reply.items()} if isinstance(reply, dict) else reply


keys = st.sampled_from([b"one", b"two"])
values = st.one_of(st.binary(max_size=9), st.integers(0, 2**40).map(lambda number: b"%d" % number))
#: A compare-and-swap comes with the number that was seen last, or with another one.
commands = st.one_of(
    st.builds(Set, keys, values, st.just(0)),
    st.builds(Add, keys, values, st.just(0)),
    st.builds(Append, keys, values),
    st.builds(Delete, keys),
    st.builds(Get, st.tuples(keys, keys).map(lambda pair: tuple(dict.fromkeys(pair)))),
    st.tuples(keys, values, st.booleans()),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(commands, max_size=25))
def test_the_model_answers_as_the_server_does(
    connection: Connection, steps: list[Command | tuple[bytes, bytes, bool]]
) -> None:
    prefix, held = secrets.token_hex(4).encode(), Held()
    seen: dict[bytes, tuple[bytes, bytes]] = {}
    for step in steps:
        if type(step) is tuple:
            key, value, is_newest = step
            never = (b"1", b"99")
            real, model = seen.get(key, never) if is_newest else never
            ours, theirs = Cas(key, value, model), Cas(key, value, real)
        else:
            ours = theirs = step
        theirs = (
            Get(tuple(prefix + key for key in theirs.keys))
            if isinstance(theirs, Get)
            else theirs._replace(key=prefix + theirs.key)
        )
        (reply,) = connection.exchange([theirs])
        expected, held = carried_out(held, ours)
        if isinstance(reply, dict):
            reply = {key.removeprefix(prefix): item for key, item in reply.items()}
            seen |= {key: (reply[key].unique, expected[key].unique) for key in reply}
        assert without_numbers(reply) == without_numbers(expected), step


def test_a_number_is_counted_up_if_it_is_there(connection: Connection) -> None:
    key = secrets.token_hex(4).encode()
    assert connection.exchange([Incr(key, 2), Set(key, b"40"), Incr(key, 2)]) == [None, True, 42]


def test_a_server_tells_how_long_an_item_is_kept(connection: Connection) -> None:
    commands = [
        Set(b"long", b"x", 60),
        Left(b"long"),
        Set(b"ever", b"x"),
        Left(b"ever"),
        Left(b"no"),
    ]
    _, left, *rest = connection.exchange(commands)
    assert 50 < left <= 60
    assert rest == [True, None, 0.0]


def test_a_thousand_commands_go_in_one_pipeline(connection: Connection) -> None:
    head = secrets.token_hex(4).encode()
    names = tuple(b"%b%d" % (head, number) for number in range(1000))
    assert all(connection.exchange([Set(name, name) for name in names]))
    (items,) = connection.exchange([Get(names)])
    assert [item.value for item in items.values()] == list(names)


def test_what_is_too_large_is_refused_and_the_connection_goes_on(connection: Connection) -> None:
    with pytest.raises(Refused):
        connection.exchange([Set(b"large", b"x" * 2_000_000), Set(b"small", b"x")])
    assert connection.exchange([Get((b"large", b"small"))])[0].keys() == {b"small"}


def test_an_item_is_what_it_was(connection: Connection) -> None:
    data = b"\r\nEND\r\nVALUE x 0 1 1\r\n\x00"
    _, items = connection.exchange([Set(b"odd", data), Get((b"odd",))])
    assert items == {b"odd": Item(data, items[b"odd"].unique)}


def test_a_key_that_the_server_does_not_take_is_a_server_that_is_away(
    memcached_server: MemcachedServer,
) -> None:
    server = Server((memcached_server.host, memcached_server.port))
    with pytest.raises(StoreUnavailable):
        server.run(lambda identity: pipeline([Set(b"x" * 251, b"")]))


def test_an_exception_in_the_middle_leaves_no_reply_for_the_next_one(
    memcached_server: MemcachedServer,
) -> None:
    class SoftTimeLimit(Exception):
        pass

    server = Server((memcached_server.host, memcached_server.port))

    (connection,) = server._idle = [server.connect()]

    def interrupted(identity: str) -> Steps[None]:
        connection.socket.sendall(connection.asked([Set(b"key", b"old"), Get((b"key",))]))
        raise SoftTimeLimit
        yield

    with pytest.raises(SoftTimeLimit):
        server.run(interrupted)
    _, items = server.run(lambda identity: pipeline([Set(b"key", b"new"), Get((b"key",))]))
    assert items[b"key"].value == b"new"
    server.close()


def test_what_was_read_over_a_lost_connection_is_read_again_over_the_next_one(
    memcached_server: MemcachedServer,
) -> None:
    server = Server((memcached_server.host, memcached_server.port))
    begun = []

    def operation(identity: str) -> Steps[None]:
        begun.append(identity)
        yield [Get((b"key",))]
        if len(begun) == 1:  # another task notices it
            line = server.lines._seats[asyncio.get_running_loop()].line
            line.lose(ConnectionResetError("gone"))
        yield [Get((b"key",))]

    async def story() -> None:
        await server.arun(lambda identity: pipeline([Get((b"key",))]))
        await asyncio.wait_for(server.arun(operation), 10)

    asyncio.run(story())
    assert len(begun) == 2
    server.lines.close()


@pytest.mark.parametrize("size", (1, 10))
def test_a_reply_is_understood_in_whatever_parts_it_comes(size: int) -> None:
    reader, replies = Reader(), []
    text = (
        b"VALUE a 0 5 7\r\n\r\nEND\r\nVALUE b 0 0 8\r\n\r\nEND\r\nSTAT pid 1\r\nEND\r\nSTORED\r\n"
    )
    for start in range(0, len(text), size):
        part = text[start : start + size]
        reader.room()[: len(part)] = part
        reader.came(len(part))
        while (reply := reader.gets()) is not INCOMPLETE:
            replies.append(reply)
    items = {b"a": Item(b"\r\nEND", b"7"), b"b": Item(b"", b"8")}
    assert replies == [Section(items, {}), Section({}, {b"pid": b"1"}), b"STORED"]


@pytest.mark.parametrize(
    "text",
    (
        b"VALUE a 0 5 7\r\nabc\r\nEND\r\n",
        b"VALUE a 0 99999999999 7\r\n",
        b"VALUE a 0 9999999999 7\r\n",
        b"VALUE a 0 -5 7\r\n",
        b"CLIENT_ERROR bad\r\n",
        b"STORED\r\n",
        b"x" * 20_000,
    ),
)
def test_what_is_no_reply_costs_the_connection(text: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection.__new__(Connection)
        connection.socket, connection._reader, connection._expected = ours, Reader(), deque()
        theirs.sendall(text)
        with pytest.raises(Garbled):
            connection.exchange([Get((b"a",))])


@pytest.mark.parametrize(
    ("location", "address"),
    (
        ("host", ("host", 11211)),
        (" 10.0.0.5:11212 ", ("10.0.0.5", 11212)),
        ("[::1]:11212", ("::1", 11212)),
        ("[::1]", ("::1", 11211)),
        ("unix:/run/m.sock", "/run/m.sock"),
        ("/run/m.sock", "/run/m.sock"),
        (("host", "11212"), ("host", 11212)),
    ),
)
def test_an_address_may_be_written_as_django_allows(location: Any, address: Any) -> None:
    assert address_of(location) == address
