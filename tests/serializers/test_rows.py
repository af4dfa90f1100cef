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
from django_layercache.serializers import few
from django_layercache.serializers import rows as rows_codec
from django_layercache.serializers.rows import RowsCodec

TEXTS = st.text(max_size=8) | st.sampled_from(["", "\0", "a\0b", "null", "long" * 100, "ä€" * 99])
ZONES = st.none() | st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes)))
KINDS = [
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(),
    TEXTS,
    st.binary(max_size=5),
    st.binary(max_size=300),
    st.binary(max_size=5).map(memoryview),
    st.dates(),
    st.times().map(lambda value: value.replace(fold=0)),
    st.datetimes(timezones=ZONES).map(lambda value: value.replace(fold=0)),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.lists(st.integers() | st.dates(), max_size=2),
    st.lists(st.uuids() | st.none(), max_size=3),
    st.lists(st.lists(TEXTS, max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers() | st.uuids(), max_size=2),
]


@st.composite
def tables(draw):
    """Columns of one type, with and without NULLs, of several types, and with one value throughout."""
    count, columns = draw(st.integers(0, few.MOST + 4)), []
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
    whole = RowsCodec.dumps(rows)
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Undecodable):
        RowsCodec.loads(whole[:end])


@given(tables(), st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_rows_are_refused_or_are_rows(rows, data):
    damaged = bytearray(RowsCodec.dumps(rows))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        back = RowsCodec.loads(bytes(damaged))
    except Undecodable:
        return
    assert all(type(row) is tuple for row in back)


def stored(form, contents, body=b""):
    units = -(-(3 + len(contents)) // 8)
    return (form + bytes([units]) + contents).ljust(8 * units) + body


def records(contents, rows, body):
    return stored(b"N3", contents, struct.pack("<I", rows) + body)


def pools(letters, *parts):
    return stored(
        b"R3", letters, struct.pack(f"<{len(parts)}I", *map(len, parts)) + b"".join(parts)
    )


def nulls(*places):
    return struct.pack(f"<{len(places) + 1}I", len(places), *places)


def lists(letter, *sizes):
    return letter + struct.pack(f"<{len(sizes) + 1}I", len(sizes), *sizes)


def cut(form, texts):
    return struct.pack("<I", len(form)) + form + texts


@pytest.mark.parametrize(
    "data",
    (
        b"",
        b"R3",
        b"R3\0",
        b"R3\1",
        b"R3\1s",
        b"R0",
        b'r1["",1]',
        b"R2il" + bytes(20) + b"i",
        pickle.dumps([(1,)]),
        stored(b"E2", b""),
        stored(b"R9", b"i", bytes(8)),
        stored(b"E3", b"")[:-1],
        stored(b"E3", b"i"),
        stored(b"E3", b"", b"[]"),
        stored(b"r3", b""),
        stored(b"r3", b"", b"1"),
        stored(b"r3", b"", b"[1]"),
        stored(b"r3", b"", b"[[1]"),
        stored(b"r3", b"", b"[[1]] and more"),
        stored(b"r3", b"", b"[[1]]\xff"),
        stored(b"r3", b"", b"[" * 100_000),
        stored(b"r3", b"dt", b"[1]"),
        stored(b"r3", b"dt", b"[[1]]"),
        stored(b"r3", b"dt", b"[[]]"),
        stored(b"r3", b"dt", b'[["yesterday"]]'),
        stored(b"r3", b"dt", b'{"0":"2026-01-01"}'),
        stored(b"r3", b"u", b'[["-1"]]'),
        stored(b"r3", b"os", b"[[1]]"),
        stored(b"r3", b"*", b'[[["os","system"]]]'),
        stored(b"n3", b"", bytes(4)),
        stored(b"n3", b"i", bytes(3)),
        stored(b"n3", b"i", bytes(5)),
        stored(b"n3", b"ix", bytes(5)),
        stored(b"n3", b"0s" * 100 + b"i", bytes(4)),
        stored(b"n3", b"99999999999999999999p", bytes(4)),
        records(b"i", 2, bytes(7)),
        records(b"i", 2, bytes(4)),
        records(b"i", 1, bytes(8)),
        records(b"i", 2**32 - 1, bytes(8)),
        stored(b"N3", b"i", b""),
        records(b"0p", 1, b""),
        records(b"iP", 1, bytes(16)),
        pools(b""),
        pools(b"a", bytes(8)),
        pools(b"J", b"[1]"),
        pools(b"\xff", b""),
        pools(b"i", bytes(7)),
        pools(b"ii", bytes(12)),
        pools(b"i", bytes(8)) + b"more",
        pools(b"i", bytes(8))[:-1],
        pools(b"is", bytes(8), b"a"),
        pools(b"is", bytes(8), b"a\0b\0c"),
        pools(b"is", bytes(8), b"a\0\xff"),
        pools(b"is", bytes(8)),
        pools(b"S", nulls(2) + b"a\0b"),
        pools(b"S", b"\xff\xff\xff\xffa\0b"),
        pools(b"S", b"a"),
        pools(b"l", cut(b"1s1s", b"a")),
        pools(b"l", cut(b"1s1s", b"abc")),
        pools(b"l", cut(b"1i", bytes(4))),
        pools(b"l", cut(b"999999999999x", b"")),
        pools(b"l", cut(b"2s", b"\xff\xff")),
        pools(b"l", cut(b"1s 1s", b"abc")),
        pools(b"l", cut(b"\0", b"")),
        pools(b"l", b"\xff\xff\xff\xff1s"),
        pools(b"m", b"yesterday\0today"),
        pools(b"m", b"2026-01-01\xff"),
        pools(b"n", b"1\0one"),
        pools(b"u", bytes(17)),
        pools(b"p", struct.pack("<iii", 2**31 - 1, 0, 0)),
        pools(b"ib", bytes(8), b"axbxc"),
        pools(b"a", b"i"),
        pools(b"a", lists(b"i", 1, 1) + bytes(4)),
        pools(b"a", lists(b"i", 1, 1) + bytes(12)),
        pools(b"a", lists(b"i", 2**32 - 1)),
        pools(b"a", lists(b"\xff", 1) + bytes(4)),
        pools(b"a", lists(b"a") * 20_000),
        pools(b"ia", bytes(8), lists(b"i", 1) + bytes(4)),
        pools(b"j", b"[1,2"),
        pools(b"j", b"1"),
        pools(b"ij", bytes(8), b"[1,2,3]"),
        pools(b"k", b'[["os","system"],1]'),
        pools(b"k", b"[" * 100_000),
    ),
)
def test_hostile_bytes_are_no_rows(data):
    with pytest.raises(Undecodable):
        RowsCodec.loads(data)


def test_many_nulls_take_no_longer_than_many_values():
    rows = [(number, number if number % 2 else None) for number in range(50_000)]
    assert RowsCodec.loads(RowsCodec.dumps(rows)) == rows


def test_a_time_in_a_named_zone_keeps_the_zone():
    row = (datetime(2026, 3, 29, 12, tzinfo=ZoneInfo("Europe/Berlin")),)
    rows = [row] * (few.MOST + 1)
    assert spelt(RowsCodec.loads(RowsCodec.dumps(rows))) == spelt(rows)


class Money(Decimal):
    """What a converter of the project's might make of a number."""


@pytest.mark.parametrize(
    "value", (object(), {1, 2}, Money(1), {1: 2}, 1j), ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("count", (1, 3, few.MOST + 1))
def test_what_is_not_on_the_list_is_not_stored(value, count):
    with pytest.raises(Unstorable):
        RowsCodec.dumps([(1, value)] * count)


def test_the_bytes_of_no_rows_and_of_a_few():
    one = (7, "a", None, Decimal("1.50"), datetime(2026, 1, 2, tzinfo=UTC), [1, "x"], b"\xff")
    two = (8, "ä", date(2026, 1, 2), None, None, None, memoryview(b"\0"))
    assert RowsCodec.dumps([]) == b"E3\1     "
    assert RowsCodec.dumps([one]) == (
        'r3\2,,,n,dt,,b   [[7,"a",null,"1.50","2026-01-02T00:00:00+00:00",[1,"x"],"ÿ"]]'.encode()
    )
    assert RowsCodec.dumps([one, two]) == (
        'r3\2,,d,n,dt,,*  [[7,"a",null,"1.50","2026-01-02T00:00:00+00:00",[1,"x"],["b","ÿ"]],'
        '[8,"ä","2026-01-02",null,null,null,["m","\\u0000"]]]'.encode()
    )


def test_the_bytes_of_records():
    one, two = (7, 0.5, True, b"\0a"), (2**40, -1.5, False, b"b" * 9)
    assert RowsCodec.dumps([one]) == b"n3\1id?8p" + struct.pack("<id?8p", *one)
    assert RowsCodec.dumps([one, two]) == b"".join(
        [b"N3\2qd?16p       ", struct.pack("<I", 2)]
        + [struct.pack("<qd?16p", *row) for row in (one, two)]
    )


def test_the_bytes_of_pools():
    numbers = range(few.MOST + 1)
    days = [date(2026, 1, 1 + number) for number in numbers]
    separator = hashlib.blake2b(b"0", digest_size=4).digest()
    table = {
        "i": (numbers, struct.pack("<6i", *numbers)),
        "q": ([2**40] * 6, struct.pack("<6q", *[2**40] * 6)),
        "s": (["ä€"] * 6, b"\0".join(["ä€".encode()] * 6)),
        "l": (["ä", "\0"] * 3, struct.pack("<I", 12) + b"2s1s" * 3 + "ä\0".encode() * 3),
        "f": ([0.5] * 6, struct.pack("<6d", *[0.5] * 6)),
        "o": ([True] * 6, b"\1" * 6),
        "d": (days, "\0".join(map(str, days)).encode()),
        "m": (
            [datetime(2026, 1, 2, tzinfo=UTC)] * 6,
            b"\0".join([b"2026-01-02T00:00:00+00:00"] * 6),
        ),
        "t": ([time(1)] * 6, b"\0".join([b"01:00:00"] * 6)),
        "p": ([timedelta(-1)] * 6, struct.pack("<3i", -1, 0, 0) * 6),
        "n": ([Decimal("1.50")] * 6, b"\0".join([b"1.50"] * 6)),
        "u": ([UUID(int=1)] * 6, (bytes(15) + b"\1") * 6),
        "b": ([b"\0"] * 6, separator + separator.join([b"\0"] * 6)),
        "v": ([memoryview(b"\1")] * 6, separator + separator.join([b"\1"] * 6)),
        "a": (
            [[7, 8], [], [9]] * 2,
            lists(b"i", 2, 0, 1, 2, 0, 1) + struct.pack("<3i", 7, 8, 9) * 2,
        ),
        "A": (
            [[[True]], None, []] * 2,
            nulls(1, 4) + lists(b"a", 1, 0, 0, 1, 0, 0) + lists(b"o", 1, 1) + b"\1\1",
        ),
        "j": (
            [None, [1], 2**70] * 2,
            b"[null,[1],1180591620717411303424,null,[1],1180591620717411303424]",
        ),
        "k": ([1, days[0]] * 3, b"[" + b",".join([b'1,["d","2026-01-01"]'] * 3) + b"]"),
        "I": ([None, 1] * 3, nulls(0, 2, 4) + struct.pack("<6i", 0, 1, 0, 1, 0, 1)),
        "S": (["a", None] * 3, nulls(1, 3, 5) + b"a\0\0a\0\0a\0"),
    }
    columns, parts = zip(*table.values(), strict=True)
    assert RowsCodec.dumps(list(zip(*columns, strict=True))) == pools(
        "".join(table).encode(), *parts
    )


def test_long_texts_are_cut_in_batches():
    rows = [("a" * 200,)] * 65
    assert RowsCodec.dumps(rows) == pools(b"l", cut(b"200s" * 64 + b" 200s", b"a" * 200 * 65))
    assert RowsCodec.loads(RowsCodec.dumps(rows)) == rows


def test_columns_of_a_type_share_a_pool():
    rows = [(number, "a", number + 1, "b") for number in range(few.MOST + 1)]
    numbers = [number for row in rows for number in row[::2]]
    assert RowsCodec.dumps(rows) == pools(
        b"isis", struct.pack("<12i", *numbers), b"\0".join([b"a\0b"] * 6)
    )


def test_bytes_that_hold_the_separator_get_another_one():
    blobs = [hashlib.blake2b(b"%d" % number, digest_size=4).digest() * 2 for number in range(6)]
    rows = [("", blob) for blob in blobs]
    assert RowsCodec.loads(RowsCodec.dumps(rows)) == rows


def test_bytes_of_very_different_sizes_waste_no_room():
    assert len(RowsCodec.dumps([(b"",)] * 100 + [(b"b" * 200,)])) < 1000


@pytest.mark.parametrize("size", (255, 256, 300))
def test_bytes_that_no_record_holds_come_back_too(size):
    rows = [(b"b" * size,)] * 3
    assert RowsCodec.loads(RowsCodec.dumps(rows)) == rows


def test_what_is_remembered_is_bounded():
    for number in range(2 * rows_codec._MOST_REMEMBERED):
        RowsCodec.loads(stored(b"r3", b"," * number, b"[]"))
        assert len(rows_codec._readers) <= rows_codec._MOST_REMEMBERED


@pytest.mark.parametrize("value", (1, "a"))
def test_more_columns_than_any_database_has_are_not_stored(value):
    assert RowsCodec.loads(RowsCodec.dumps([(value,) * 2000] * 6)) == [(value,) * 2000] * 6
    with pytest.raises(Unstorable):
        RowsCodec.dumps([(value,) * 2100] * 6)


@pytest.mark.parametrize("count", (1, 3, few.MOST + 1))
def test_half_of_a_surrogate_pair_is_not_stored(count):
    with pytest.raises(Unstorable):
        RowsCodec.dumps([("\ud800",)] * count)


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
    for rows in ([(shown,)], [(shown,), (shown,)], [(shown,)] * (few.MOST + 1)):
        assert repr(RowsCodec.loads(RowsCodec.dumps(rows))) == repr(rows)


@pytest.mark.parametrize("key", ("Europe", "../x", "/etc/passwd", "", "\0", "a" * 5000))
def test_a_time_zone_that_is_none_is_undecodable(key):
    data = RowsCodec.dumps([(datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),)])
    hostile = data.replace(b"Europe/Berlin", json.dumps(key)[1:-1].encode())
    with pytest.raises(Undecodable):
        RowsCodec.loads(hostile)
