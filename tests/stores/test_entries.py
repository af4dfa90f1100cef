"""The bytes of an entry."""

from json import dumps
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_layercache.exceptions import Undecodable
from django_layercache.stores.base import Entry
from django_layercache.stores.entries import FORMAT, pack, unpack

GOLDEN = Path(__file__).parent / "golden"
TOKENS = ["012345670000000000000001", "89abcdef1763643600000000"]

# A change of these bytes makes what servers hold unreadable: then FORMAT has to change, too.
ENTRIES = {
    "plain": ("page:/", Entry({"blog_post": TOKENS[0], "blog_post#id=5": TOKENS[1]}, b"<p>Hi</p>")),
    "nothing": ("", Entry({}, b"")),
    "odd": ('k"\\\x00 ä😀', Entry({'t"\\\n ä😀': TOKENS[0], "": TOKENS[1]}, b"\x00\xff\r\nL1")),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_bytes_of_an_entry_are_those_of_the_golden_file(name: str) -> None:
    key, entry = ENTRIES[name]
    golden = (GOLDEN / f"{FORMAT.decode()}-{name}.bin").read_bytes()
    assert pack(key, entry) == golden
    assert unpack(key, golden) == entry


text = st.text()
entries = st.builds(Entry, st.dictionaries(text, text, max_size=5), st.binary())


@given(text, entries)
def test_an_entry_is_unpacked_as_it_was_packed(key: str, entry: Entry) -> None:
    assert unpack(key, pack(key, entry)) == entry


@given(text, text, entries)
def test_an_entry_of_another_key_is_undecodable(key: str, other: str, entry: Entry) -> None:
    if key != other:
        with pytest.raises(Undecodable):
            unpack(other, pack(key, entry))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def framed(header: bytes) -> bytes:
    return b"L1%08x%b" % (len(header), header)


hostile = st.one_of(
    st.binary(),
    st.binary().map(lambda data: b"L1" + data),
    st.binary(min_size=8, max_size=8).map(lambda digits: b"L1" + digits + b'["k"]'),
    st.binary().map(framed),
    json.map(lambda value: framed(repr(value).replace("'", '"').encode())),
    st.lists(st.just("k") | text | st.integers() | st.none()).map(
        lambda parts: framed(dumps(parts).encode())
    ),
)


@given(hostile)
def test_other_bytes_are_an_entry_or_undecodable_and_nothing_else(data: bytes) -> None:
    try:
        entry = unpack("k", data)
    except Undecodable:
        return
    assert data.startswith(FORMAT)
    assert all(type(part) is str for item in entry.tokens.items() for part in item)


@given(entries, st.data())
def test_an_entry_with_a_changed_header_is_never_taken_for_a_whole_one(
    entry: Entry, data: st.DataObject
) -> None:
    packed = bytearray(pack("k", entry))
    at = data.draw(st.integers(0, 9))
    packed[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != packed[at]))
    try:
        assert unpack("k", bytes(packed)) == entry  # the same number in other digits
    except Undecodable:
        pass


@pytest.mark.parametrize(
    "header",
    (
        b'["k", "a", "1", "a", "2", "b", "3"]',
        b'["k", "a"]',
        b'["k", "a", 1]',
        b'["k", ["a"], "1"]',
        b'{"k": 1}',
        b'"k"',
        b"null",
        b"[" * 100_000,
        b"",
        b'["k"',
        b'["k", "a", "1"',
    ),
)
def test_a_damaged_header_is_undecodable(header: bytes) -> None:
    with pytest.raises(Undecodable):
        unpack("k", framed(header))


@pytest.mark.parametrize(
    "data", (b"", b"L", b"L1", b"L2" + b"0" * 8, b"L1zzzzzzzz", b"L1-0000001[]")
)
def test_a_damaged_frame_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        unpack("k", data)


def test_a_header_cut_off_by_the_end_is_undecodable() -> None:
    packed = pack("k", Entry({"a": "1"}, b""))
    for length in range(len(packed)):
        with pytest.raises(Undecodable):
            unpack("k", packed[:length])
