"""Rows as bytes: what goes in comes out, and nothing that comes out was not put in."""

import hashlib
import json
import pickle
import struct
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.serializers import columns
from django_layercache.serializers import rows as codec
from django_layercache.serializers.rows import RowsCodec

TEXTS = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(["", "\0", "a\0b", "null"])
ZONES = st.none() | st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes)))
KINDS = [
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(),
    TEXTS,
    st.binary(max_size=5),
    st.binary(max_size=5).map(memoryview),
    st.dates(),
    st.times().map(lambda value: value.replace(fold=0)),
    st.datetimes(timezones=ZONES).map(lambda value: value.replace(fold=0)),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.lists(st.integers() | st.dates(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers() | st.uuids(), max_size=2),
]


@st.composite
def tables(draw):
    """Columns of one type, with and without NULLs, of several types, and with one value throughout."""
    count, columns = draw(st.integers(0, 6)), []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(KINDS))
        values = draw(st.sampled_from([kind, kind | st.none(), st.one_of(*KINDS)]))
        same = draw(st.booleans()) and [draw(values)] * count
        columns.append(same or [draw(values) for _ in range(count)])
    return list(zip(*columns, strict=True))


def spelt(value):
    """Its type and all that can be seen of it: 1 is not True, 1.0 is not 1.00, and NaN is NaN."""
    if isinstance(value, memoryview):
        return "memoryview", bytes(value)
    if isinstance(value, list | tuple):
        return type(value), [spelt(item) for item in value]
    if isinstance(value, dict):
        return dict, [(key, spelt(item)) for key, item in value.items()]
    return type(value), repr(value)


@given(tables())
@settings(max_examples=200, deadline=None)
def test_rows_come_back_as_they_were(rows):
    back = RowsCodec.loads(RowsCodec.dumps(rows))
    assert spelt(back) == spelt(rows)


@given(tables(), st.data())
@settings(max_examples=100, deadline=None)
def test_rows_that_were_cut_off_are_refused(rows, data):
    stored = RowsCodec.dumps(rows)
    end = data.draw(st.integers(0, len(stored) - 1))
    with pytest.raises(Undecodable):
        RowsCodec.loads(stored[:end])


@given(tables(), st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_rows_are_refused_or_are_rows(rows, data):
    stored = bytearray(RowsCodec.dumps(rows))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(stored) - 1))
        stored[place] = data.draw(st.integers(0, 255))
    try:
        back = RowsCodec.loads(bytes(stored))
    except Undecodable:
        return
    assert all(type(row) is tuple for row in back)


def many(codes, rows, rest=b"", text=b"", numbers=b"", blobs=b"", form=b"il"):
    sizes = len(codes), len(rest), len(text), len(blobs)
    prefix = struct.pack("<5I", rows, *sizes)
    return b"".join([b"R2", form, prefix, codes, rest, text, numbers, blobs])


@pytest.mark.parametrize(
    "stored",
    (
        b"",
        b"R1",
        b"r1[]",
        b"r1[1]",
        b'r1["",1] and more',
        b'r1["dt",1]',
        b'r1["dt","yesterday"]',
        b'r1["u","-1"]',
        b'r1["os",1]',
        b'r1["*",["os","system"]]',
        b"R0[]",
        b"r0",
        many(b"", 0),
        many(b"", 2),
        many(b"os", 2),
        many(b"i", 2, numbers=bytes(7)),
        many(b"i", 2, numbers=bytes(9)),
        many(b"i", 2, numbers=bytes(8), form=b"xl"),
        many(b"i", 2, numbers=bytes(8), form=b"ix")[:-1],
        many(b"i", 2**32 - 1, numbers=bytes(8)),
        many(b"i", 2, text=b"a", numbers=bytes(8)),
        many(b"s", 2, text=b"a"),
        many(b"s", 2, text=b"a\0b\0c"),
        many(b"s", 2, text=b"a\0b", form=b"ix"),
        many(b"s", 2, text=b"a\0\xff", form=b"iu"),
        many(b"s", 2, b'[{},{"s":[2]},""]', b"a\0b"),
        many(b"s", 2, b'[{},{"s":["x"]},""]', b"a\0b"),
        many(b"s", 2, b'[{},{"os":[0]},""]', b"a\0b"),
        many(b"s", 2, b'[{},{"s":1},""]', b"a\0b"),
        many(b"s", 2, b'[{},{},""]', b"a\0b", blobs=b"c"),
        many(b"s", 2, b'[{"":[1,2]}]', b"a\0b"),
        many(b"dt", 2, text=b"yesterday\0today"),
        many(b"u", 2, text=b"-1\0-1"),
        many(b"u", 2, text=b"f" * 33 + b"\0" + b"1"),
        many(b"td", 1, numbers=struct.pack("<iii", 2**31 - 1, 0, 0)),
        many(b"", 2, b'[{"":[1]},{},""]'),
        many(b"", 2, b'[{"":[1,2,3]},{},""]'),
        many(b"", 2, b"[{},{},0]"),
        many(b"*", 2, b'[{"*":[["os","system"],1]},{},""]'),
        many(b"*", 2, b'[{"*":' + b"[" * 100_000),
        many(b"b", 2, b'[{},{},""]', blobs=b"ab"),
        many(b"b", 2, b'[{},{},"x"]', blobs=b"axbxc"),
        many(b"b", 2, b'[{},{},"\xe2\x82\xac"]', blobs=b"ab"),
        pickle.dumps([(1,)]),
    ),
)
def test_hostile_bytes_are_no_rows(stored):
    with pytest.raises(Undecodable):
        RowsCodec.loads(stored)


def test_many_nulls_take_no_longer_than_many_values():
    rows = [(number, number if number % 2 else None) for number in range(50_000)]
    assert RowsCodec.loads(RowsCodec.dumps(rows)) == rows


def test_a_time_in_a_named_zone_keeps_the_zone():
    row = (datetime(2026, 3, 29, 12, tzinfo=ZoneInfo("Europe/Berlin")),)
    assert spelt(RowsCodec.loads(RowsCodec.dumps([row, row]))) == spelt([row, row])


class Money(Decimal):
    """What a converter of the project's might make of a number."""


@pytest.mark.parametrize(
    "value", (object(), {1, 2}, Money(1), {1: 2}, 1j), ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("count", (1, 3))
def test_what_is_not_on_the_list_is_not_stored(value, count):
    with pytest.raises(Unstorable):
        RowsCodec.dumps([(1, value)] * count)


def test_the_bytes_are_those_of_the_formats():
    one = (7, "a", None, Decimal("1.50"), datetime(2026, 1, 2, tzinfo=UTC), [1, "x"])
    assert RowsCodec.dumps([]) == b"R0"
    assert RowsCodec.dumps([one]) == (
        b'r1[",,,n,dt,",7,"a",null,"1.50","2026-01-02T00:00:00+00:00",[1,"x"]]'
    )
    rows = [
        (7, "a", None, 0.5, UUID(int=1), date(2026, 1, 2), True, b"\0", timedelta(-1), 8),
        ([], "ä", "x", 1.5, UUID(int=2), date(2026, 1, 3), False, b"\1", timedelta(5), 9),
    ]
    days, uuids = ["2026-01-02", "2026-01-03"], [f"{1:032x}", f"{2:032x}"]
    separator = hashlib.blake2b(b"0", digest_size=4).digest()
    assert RowsCodec.dumps(rows) == many(
        b",s,s,f,u,d,?,b,td,i",
        2,
        b'[{"":[7,[]]},{"s":[1]},"4\\u0006\xc2\x92$"]',
        "\0".join(["a", "", "ä", "x", *days, *uuids]).encode("latin-1"),
        struct.pack("<2i2d2?6i", 8, 9, 0.5, 1.5, True, False, -1, 0, 0, 5, 0, 0),
        separator.join([b"\0", b"\1"]),
    )
    assert RowsCodec.dumps([(2**40, "€"), (1, "")]) == many(
        b"i,s", 2, b"", "€\0".encode(), struct.pack("<2q", 2**40, 1), form=b"qu"
    )


def test_bytes_that_hold_the_separator_get_another_one():
    rows = [(hashlib.blake2b(b"%d" % number, digest_size=4).digest() * 2,) for number in range(3)]
    assert RowsCodec.loads(RowsCodec.dumps(rows)) == rows


@pytest.mark.parametrize("count", (1, 2))
def test_more_columns_than_anybody_asks_for_are_not_remembered(count):
    for function in (columns._layout, codec._decoders):
        function.cache_clear()
    wide = [(1,) * 5000] * count
    assert RowsCodec.loads(RowsCodec.dumps(wide)) == wide
    assert columns._layout.cache_info().currsize == codec._decoders.cache_info().currsize == 0


def test_rows_of_no_columns_are_not_stored():
    with pytest.raises(Unstorable):
        RowsCodec.dumps([(), ()])


def test_a_time_that_comes_twice_is_not_stored():
    row = (time(2, 30, fold=1),)
    with pytest.raises(Unstorable):
        RowsCodec.dumps([row])


@pytest.mark.parametrize("fold", (0, 1))
@pytest.mark.parametrize(
    "wall_clock",
    (
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59.999999",
        "2024-03-31T02:30:00",  # skipped in Berlin: the clocks went forward
        "2024-10-27T02:30:00",  # shown twice
    ),
)
@pytest.mark.parametrize("key", ("Europe/Berlin", "America/New_York"))
def test_whatever_a_clock_in_a_time_zone_shows_is_shown_again(wall_clock, key, fold):
    shown = datetime.fromisoformat(wall_clock).replace(tzinfo=ZoneInfo(key), fold=fold)
    for rows in ([(shown,)], [(shown,), (shown,)]):
        assert repr(RowsCodec.loads(RowsCodec.dumps(rows))) == repr(rows)


@pytest.mark.parametrize("key", ("Europe", "../x", "/etc/passwd", "", "\0", "a" * 5000))
def test_a_time_zone_that_is_none_is_undecodable(key):
    data = RowsCodec.dumps([(datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),)])
    hostile = data.replace(b"Europe/Berlin", json.dumps(key)[1:-1].encode())
    with pytest.raises(Undecodable):
        RowsCodec.loads(hostile)
