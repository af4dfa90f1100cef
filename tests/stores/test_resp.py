"""Packing and unpacking in Python do what ``hiredis`` does, however the bytes come."""

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_layercache.stores import resp
from django_layercache.stores.resp import INCOMPLETE, Garbled, PlainReader, Refusal

LINES = st.text("abc -:$*0123456789", max_size=8).map(str.encode)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
LEAVES = st.one_of(
    LINES.map(lambda line: b"+%b\r\n" % line),
    LINES.map(lambda line: b"-ERR %b\r\n" % line),
    INTEGERS.map(lambda number: b":%d\r\n" % number),
    st.binary(max_size=20).map(lambda data: b"$%d\r\n%b\r\n" % (len(data), data)),
    st.floats(allow_nan=False).map(lambda number: b",%b\r\n" % repr(number).encode()),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b"#f\r\n", b"=7\r\ntxt:abc\r\n"]),
)


def nested(inner: Any) -> Any:
    def framed(items: list[bytes], kind: bytes) -> bytes:
        return b"%b%d\r\n%b" % (kind, len(items), b"".join(items))

    return st.builds(framed, st.lists(inner, max_size=4), st.sampled_from([b"*", b">"]))


REPLIES = st.recursive(LEAVES, nested, max_leaves=8)


def readers() -> list[resp.Reader]:
    return [resp.new_reader(), PlainReader()]


def seen(reply: Any) -> Any:
    """*reply*, comparable."""
    if isinstance(reply, Refusal):
        return "refusal", str(reply)
    if isinstance(reply, list):
        return resp.is_push(reply), [seen(item) for item in reply]
    return type(reply), reply


def all_of(reader: resp.Reader) -> list[Any]:
    replies = []
    while (reply := reader.gets()) is not INCOMPLETE:
        replies.append(seen(reply))
    return replies


@given(st.lists(REPLIES, min_size=1, max_size=4), st.data())
def test_both_readers_read_the_same_however_the_bytes_come(
    replies: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    found = []
    for reader in readers():
        come: list[Any] = []
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            buffer = bytearray(b"..") + whole[start:end] + b".."
            reader.feed(buffer, 2, end - start)
            come += all_of(reader)
        found.append(come)
    assert found[0] == found[1]
    assert len(found[0]) == len(replies)


@pytest.mark.parametrize("reader", readers(), ids=["hiredis", "plain"])
@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b"*z\r\n"])
def test_what_is_no_reply_is_garbled(reader: resp.Reader, data: bytes) -> None:
    reader = type(reader)() if isinstance(reader, PlainReader) else resp.new_reader()
    reader.feed(data)
    with pytest.raises(Garbled):
        reader.gets()


@given(st.lists(st.binary() | st.text() | st.integers(), min_size=1))
def test_both_ways_to_pack_give_the_same_bytes(parts: list[Any]) -> None:
    assert resp.plain_pack(tuple(parts)) == hiredis.pack_command(tuple(parts))


def test_text_that_has_no_utf8_is_packed_all_the_same() -> None:
    assert resp.packed("GET", "\ud800") == b"*2\r\n$3\r\nGET\r\n$3\r\n\xed\xa0\x80\r\n"


def test_maps_are_read_in_python() -> None:
    reader = PlainReader()
    reader.feed(b"%1\r\n+a\r\n:1\r\n")
    assert reader.gets() == {b"a": 1}
