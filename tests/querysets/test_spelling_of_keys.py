"""How a key's value stands in a tag."""

import uuid
from enum import Enum, IntEnum

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection, models

from django_layercache import trace
from django_layercache.querysets.bindings import row_key


def spelt(field, value):
    return row_key(field, value, connection)


def test_numbers_and_uuids_are_spelt_as_they_are():
    assert spelt(models.BigAutoField(), 5) == "5"
    key = uuid.uuid4()
    assert spelt(models.UUIDField(), key) == key.hex


def test_short_texts_are_readable_and_framed():
    assert spelt(models.CharField(), "EGLL") == "EGLL"
    assert spelt(models.CharField(), "a#*=b ?") == "a%23%2A%3Db%20%3F"


def test_a_member_of_an_enumeration_is_spelt_as_its_value():
    class Kind(str, Enum):  # noqa: UP042 - such ones are what this is about
        A = "a"

    class Number(IntEnum):
        ONE = 1

    assert spelt(models.CharField(), Kind.A) == "a"
    assert spelt(models.IntegerField(), Number.ONE) == "1"


def test_long_texts_are_digested():
    text = "x" * 40
    assert spelt(models.CharField(), text) != spelt(models.CharField(), text + "y")
    assert "xxx" not in spelt(models.CharField(), text)


@pytest.mark.parametrize(
    ("field", "value"),
    (
        (models.CharField(db_collation="nocase"), "EGLL"),
        (models.DecimalField(), 5),
        (models.DateField(), "2026-11-20"),
        (models.IntegerField(), "5"),
        (models.UUIDField(), "5"),
    ),
)
def test_a_value_whose_equality_is_the_databases_own_business_is_not_spelt(field, value):
    assert spelt(field, value) is None


@pytest.mark.django_db
def test_a_sessions_key_does_not_stand_in_a_tag():
    session = SessionStore()
    session["a"] = 1
    session.save()
    with trace() as events:
        Session.objects.cached().get(pk=session.session_key)
    assert any("django_session#pk=~" in tag for tag in events[-1].tags)
    assert session.session_key not in repr(events)
