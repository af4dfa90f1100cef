"""The bytes of an entry."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_layercache.exceptions import Undecodable
from django_layercache.stores.base import Entry
from django_layercache.stores.entries import FORMAT, pack, unpack

GOLDEN = Path(__file__).parent / "golden"
TOKENS = ["012345670000000000000001", "012345671763643600000000"]
DATABASE = "89abcdef:"

# A change of these bytes makes what servers hold unreadable: then FORMAT has to change, too.
ENTRIES = {
    "row": (
        "querysets:0f343b0931126a20f133d67c2b018a3b",
        Entry(
            {
                DATABASE: TOKENS[0],
                f"{DATABASE}blog_post": TOKENS[0],
                f"{DATABASE}blog_post#pk=5": TOKENS[1],
            },
            b"<p>Hi</p>",
        ),
    ),
    "nothing": ("", Entry({}, b"")),
    "generation": ("page:/", Entry({}, b"<p>Hi</p>", "01234567")),
    "odd": (
        'k"\\\x00 ä😀\ud800',
        Entry({'t"\\\n ä😀': TOKENS[0], "": TOKENS[1], "\ud800": TOKENS[1]}, b"\x00\xff\r\nL2"),
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_bytes_of_an_entry_are_those_of_the_golden_file(name: str) -> None:
    key, entry = ENTRIES[name]
    golden = (GOLDEN / f"{FORMAT.decode()}-{name}.bin").read_bytes()
    assert pack(key, entry) == golden
    assert unpack(key, golden) == entry


def test_the_bookkeeping_of_an_entry_with_three_tags_takes_less_than_a_hundred_bytes() -> None:
    key, entry = ENTRIES["row"]
    assert len(pack(key, entry)) - len(entry.payload) < 100


text = st.text(st.characters(codec=None))
generation = st.text("0123456789abcdef", min_size=8, max_size=8)


@st.composite
def tokens(draw, tags=text, generation=generation):
    """All tokens of an entry that can be a hit are of one generation."""
    prefix = draw(generation)
    positions = st.integers(1, 2**53).map(lambda position: f"{prefix}{position:016d}")
    return draw(st.dictionaries(tags, positions, max_size=5))


entries = st.builds(Entry, tokens(), st.binary())


@given(text, entries)
def test_an_entry_is_unpacked_as_it_was_packed(key: str, entry: Entry) -> None:
    assert unpack(key, pack(key, entry)) == entry


@given(text, generation)
def test_an_entry_without_tags_keeps_its_generation(key: str, generation: str) -> None:
    assert unpack(key, pack(key, Entry({}, b"", generation))).generation == generation


def test_a_long_name_is_kept_whole() -> None:
    long = "a" * 300
    entry = Entry({long: TOKENS[0], f"{long}b": TOKENS[1], f"{long}bc": TOKENS[0]}, b"x")
    assert unpack("k", pack("k", entry)) == entry


@pytest.mark.parametrize("token", ("fedcba980000000000000001", "01234567", "", "t", "01234567 1"))
def test_a_token_of_another_generation_is_never_current_again(token: str) -> None:
    entry = unpack("k", pack("k", Entry({"a": TOKENS[0], "b": token}, b"")))
    assert entry.tokens == {"a": TOKENS[0], "b": "01234567" + "0" * 16}


@given(text, text, entries)
def test_an_entry_of_another_key_is_undecodable(key: str, other: str, entry: Entry) -> None:
    if key != other:
        with pytest.raises(Undecodable):
            unpack(other, pack(key, entry))


START = pack("k", Entry({}, b""))[:18]


def framed(names: bytes, rest: bytes = bytes(24)) -> bytes:
    return START + struct.pack("<I", len(names)) + names + rest


hostile = st.one_of(
    st.binary(),
    st.binary().map(lambda data: FORMAT + data),
    st.binary(min_size=4).map(lambda data: START + data),
    st.binary().map(framed),
    st.lists(st.binary(max_size=4)).map(lambda parts: framed(b"\xff".join([*parts, b""]))),
)


@given(hostile)
def test_other_bytes_are_an_entry_or_undecodable_and_nothing_else(data: bytes) -> None:
    try:
        entry = unpack("k", data)
    except Undecodable:
        return
    assert data.startswith(START)
    assert all(type(part) is str for item in entry.tokens.items() for part in item)


@pytest.mark.parametrize(
    "names",
    (b"\xff", b"\x00a", b"\x00a\xff\xff", b"\x00a\xff\x01\xff", b"\x00\xfe\xff"),
    ids=("no name", "no end", "an empty name", "a name twice", "no UTF-8"),
)
def test_damaged_names_are_undecodable(names: bytes) -> None:
    with pytest.raises(Undecodable):
        unpack("k", framed(names))


@pytest.mark.parametrize("data", (b"", b"L", b"L2", b"L1" + START[2:] + bytes(4), b"L1000004[]"))
def test_another_format_is_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        unpack("k", data)


def test_a_header_cut_off_by_the_end_is_undecodable() -> None:
    packed = pack("k", Entry({"a": TOKENS[0]}, b""))
    for length in range(len(packed)):
        with pytest.raises(Undecodable):
            unpack("k", packed[:length])
