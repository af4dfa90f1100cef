"""Signed objects: nothing is unpickled that this project did not sign."""

import logging
import pickle

import pytest

from django_layercache.exceptions import Undecodable, Unstorable
from django_layercache.serializers import reports
from django_layercache.serializers.signed import SignedCodec

RAN = []


class Bomb:
    def __reduce__(self):
        return RAN.append, ("boom",)


@pytest.fixture(autouse=True)
def nothing_reported():
    reports._reported.clear()
    RAN.clear()
    yield
    reports._reported.clear()


@pytest.mark.parametrize("value", (None, 0, "text", [1, {2}], {"a": (1.5, b"x")}))
def test_values_come_back(value):
    assert SignedCodec("key").loads(SignedCodec("key").dumps(value)) == value


def test_a_value_comes_back_as_a_copy():
    codec, value = SignedCodec("key"), [1]
    data = codec.dumps(value)
    assert codec.loads(data) is not codec.loads(data) is not value


def test_what_is_signed_for_one_key_is_nothing_under_another():
    with pytest.raises(Undecodable):
        SignedCodec("other").loads(SignedCodec("key").dumps(1))


@pytest.mark.parametrize("position", range(0, 40, 3))
def test_a_changed_byte_is_noticed(position):
    data = bytearray(SignedCodec("key").dumps("a value that is long enough"))
    data[position] ^= 1
    with pytest.raises(Undecodable):
        SignedCodec("key").loads(bytes(data))


@pytest.mark.parametrize("head", (b"", b"P1", b"P1" + b"\0" * 20, b"P1" + b"x" * 19))
def test_foreign_bytes_are_never_unpickled(head):
    with pytest.raises(Undecodable):
        SignedCodec("key").loads(head + pickle.dumps(Bomb()))
    assert RAN == []


def test_another_secret_key_does_not_verify(settings):
    data = SignedCodec("key").dumps(1)
    settings.SECRET_KEY = "another"
    with pytest.raises(Undecodable):
        SignedCodec("key").loads(data)


def test_a_secret_key_that_was_replaced_still_verifies(settings):
    data = SignedCodec("key").dumps(1)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert SignedCodec("key").loads(data) == 1


def test_what_cannot_be_pickled_is_not_storable():
    with pytest.raises(Unstorable, match="cannot be pickled: function"):
        SignedCodec("key").dumps(lambda: None)


def test_a_class_that_was_moved_is_undecodable(monkeypatch):
    data = SignedCodec("key").dumps(Bomb)
    monkeypatch.delitem(globals(), "Bomb")
    with pytest.raises(Undecodable, match="AttributeError"):
        SignedCodec("key").loads(data)


def test_what_was_kept_is_what_is_stored():
    codec, value = SignedCodec("key"), [1]
    codec.keep(value)
    value.append(2)
    assert codec.loads(codec.dumps(value)) == [1]


def test_it_is_logged_once(caplog):
    with caplog.at_level(logging.WARNING, "django_layercache"):
        for _ in range(3):
            with pytest.raises(Undecodable):
                SignedCodec("key").loads(b"evil")
    assert len(caplog.records) == 1
