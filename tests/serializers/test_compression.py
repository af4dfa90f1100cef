"""Payloads made smaller: with what is there, within bounds, and never an error."""

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_layercache.exceptions import Undecodable
from django_layercache.serializers import compression
from django_layercache.serializers.compression import compressed, decompressed

LIMIT = 100_000
PAGE = b"G1" + b"<li>An entry of a list</li>" * 100


@pytest.fixture(params=("zlib", "zstd"))
def method(request, monkeypatch):
    """Both, whatever is installed by default."""
    if request.param == "zlib":
        monkeypatch.setattr(compression, "_zstd", None)
    else:
        assert compression.HAS_ZSTD
    return {"zlib": b"Z1", "zstd": b"Z2"}[request.param]


def test_a_payload_is_smaller_and_comes_back(method):
    small = compressed(PAGE)
    assert small.startswith(method)
    assert len(small) < len(PAGE) / 5
    assert decompressed(small, LIMIT) == PAGE


def test_what_does_not_get_smaller_stays_as_it_is(method):
    assert compressed(b"R1\x93") == b"R1\x93"


def test_what_was_not_compressed_stays_as_it_is(method):
    assert decompressed(PAGE, 1) == PAGE


def test_a_payload_that_was_cut_off_is_undecodable(method):
    small = compressed(PAGE)
    for end in range(2, len(small)):
        with pytest.raises(Undecodable):
            decompressed(small[:end], LIMIT)


@given(data=st.data())
def test_damage_is_undecodable_or_harmless(data):
    small = bytearray(compressed(PAGE))
    small[data.draw(st.integers(0, len(small) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(decompressed(bytes(small), LIMIT)) <= LIMIT
    except Undecodable:
        pass


@given(form=st.sampled_from([b"Z1", b"Z2"]), size=st.integers(0, 2**32 - 1), body=st.binary())
def test_any_bytes_are_undecodable_or_harmless(form, size, body):
    try:
        assert len(decompressed(form + struct.pack("<I", size) + body, LIMIT)) == size
    except Undecodable:
        pass


@pytest.mark.parametrize("says", (1000, LIMIT, LIMIT + 1, 2**32 - 1))
def test_a_bomb_is_not_unpacked(method, says):
    bomb = bytearray(compressed(bytes(50_000_000)))
    bomb[2:6] = struct.pack("<I", says)
    tracemalloc.start()
    try:
        with pytest.raises(Undecodable):
            decompressed(bytes(bomb), LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 10 * LIMIT
    finally:
        tracemalloc.stop()


def test_one_without_zstandard_cannot_read_what_others_have_compressed_with_it(monkeypatch):
    small = compressed(PAGE)
    monkeypatch.setattr(compression, "_zstd", None)
    with pytest.raises(Undecodable, match="not installed"):
        decompressed(small, LIMIT)


def test_the_bytes_are_those_of_the_formats(monkeypatch):
    head = struct.pack("<I", len(PAGE))
    assert decompressed(b"Z1" + head + zlib.compress(PAGE, 9), LIMIT) == PAGE
    assert compressed(PAGE)[:10] == b"Z2" + head + b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1
