"""Rows as bytes: what goes in comes out, and nothing that comes out was not put in."""

import json
import pickle
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_layercache.exceptions import Undecodable, Unstorable
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


def many(header, numbers=b"i" + bytes(8), texts=b""):
    return b"R1" + numbers + header + texts


@pytest.mark.parametrize(
    "stored",
    (
        b"",
        b"R0[]",
        b"R1",
        b"r1[]",
        b"r1[1]",
        b'r1["",1] and more',
        b'r1["dt",1]',
        b'r1["dt","yesterday"]',
        b'r1["u","-1"]',
        b'r1["os",1]',
        b'r1["*",["os","system"]]',
        many(b'[1,"=",1]'),
        many(b'[1000000000000000,",=",[1],1]'),
        many(b'[2,",=",[1],1]'),
        many(b'[2,"i",0]'),
        many(b'[4,"s",[3,0]]', texts=b"a\0b\0"),
        many(b'[1,"s",0]', texts=b"a\0b\0"),
        many(b'[1,"os",[1]]'),
        many(b'[1,"",5]'),
        many(b'[1,"",[1]]', numbers=b"x" + bytes(8)),
        many(b'[1,"i",0]', numbers=b"q" + b"\xff" * 8),
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


@pytest.mark.parametrize("value", (object(), {1, 2}, Money(1), {1: 2}, 1j), ids=repr)
@pytest.mark.parametrize("count", (1, 3))
def test_what_is_not_on_the_list_is_not_stored(value, count):
    with pytest.raises(Unstorable):
        RowsCodec.dumps([(1, value)] * count)


def test_the_bytes_are_those_of_format_1():
    one = (7, "a", None, Decimal("1.50"), datetime(2026, 1, 2, tzinfo=UTC))
    assert RowsCodec.dumps([one]) == (
        b'r1[",,,n,dt",7,"a",null,"1.50","2026-01-02T00:00:00+00:00"]'
    )
    rows = [
        (7, "a", None, 0.5, UUID(int=1), date(2026, 1, 2), True, b"\0"),
        (8, "b", "x", 0.5, UUID(int=2), date(2026, 1, 2), False, b"\1"),
    ]
    assert RowsCodec.dumps(rows) == (
        b"R1i\2\0\0\0\2\0\0\0\7\0\0\0\10\0\0\0"
        + b"\0\0\0\0\0\0\xe0?" * 2
        + b'[2,"i,s,s,f,u,=d,,b",'
        b'[],[],[0],[],[],"2026-01-02",[true,false],["\\u0000","\\u0001"]]'
        b"a\0b\0x\0" + b"%032x\0%032x\0" % (1, 2)
    )


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
