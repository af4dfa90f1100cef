"""Texts as bytes."""

import pytest

from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.serializers.text import TextCodec


@pytest.mark.parametrize("text", ("", "<b>ü</b>", "\0\n", "🂡"))
def test_a_text_comes_back(text):
    assert TextCodec().loads(TextCodec().dumps(text)) == text


@pytest.mark.parametrize("data", (b"", b"x", b"T2x", b"T1\xff"))
def test_other_bytes_are_undecodable(data):
    with pytest.raises(Undecodable):
        TextCodec().loads(data)


def test_half_a_surrogate_pair_is_not_storable():
    with pytest.raises(Unstorable):
        TextCodec().dumps("\ud800")
