"""Pages as bytes: hostile ones are a miss, whatever they say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_layercache.exceptions import Undecodable
from django_layercache.serializers.pages import Page, dump_page, load_page

PAGE = Page(200, "OK", "utf-8", [("Content-Type", "text/html")], b"\x00body", {"HTTP_X": "a"}, 5)


def test_a_page_comes_back():
    assert load_page(dump_page(PAGE)) == PAGE


def test_the_bytes_are_these():
    head = b'[200,"OK","utf-8",[["Content-Type","text/html"]],{"HTTP_X":"a"},5]'
    assert dump_page(PAGE) == b"G1%08x" % len(head) + head + b"\x00body"


def packed(*parts):
    head = json.dumps(parts).encode()
    return b"G1%08x%b" % (len(head), head)


@pytest.mark.parametrize(
    "data",
    (
        b"",
        b"G1",
        b"G1zzzzzzzz[]",
        b"P100000002[]",
        b"G1-0000001[]",
        packed(),
        packed("200", "OK", "utf-8", [], {}, None),
        packed(True, "OK", "utf-8", [], {}, None),
        packed(99, "OK", "utf-8", [], {}, None),
        packed(200, None, "utf-8", [], {}, None),
        packed(200, "OK\r\nSet-Cookie: a=b", "utf-8", [], {}, None),
        packed(200, "OK", "no-such-charset", [], {}, None),
        packed(200, "OK", "utf-8", [["X", "a\r\nSet-Cookie: a=b"]], {}, None),
        packed(200, "OK", "utf-8", [["X\n", "a"]], {}, None),
        packed(200, "OK", "utf-8", [["X", 5]], {}, None),
        packed(200, "OK", "utf-8", ["X"], {}, None),
        packed(200, "OK", "utf-8", [], [], None),
        packed(200, "OK", "utf-8", [], {"X": 1}, None),
        packed(200, "OK", "utf-8", [], {}, "soon"),
        b"G1%08x" % 200_000 + b"[" * 200_000,
    ),
)
def test_damaged_bytes_are_undecodable(data):
    with pytest.raises(Undecodable):
        load_page(data)


@given(st.binary(max_size=200), st.integers(0, 120))
def test_any_other_bytes_are_undecodable_or_a_page(noise, position):
    data = dump_page(PAGE)
    try:
        page = load_page(data[:position] + noise + data[position:])
    except Undecodable:
        return
    assert isinstance(page, Page)
