"""What a run of Django's own tests, with every model's queries cached, has brought to light."""

import asyncio
from contextlib import contextmanager
from sqlite3 import ProgrammingError

import pytest
from django.core.exceptions import FieldError, SynchronousOnlyOperation
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.db.models import (
    CASCADE,
    BinaryField,
    CharField,
    Field,
    ForeignObject,
    GenericIPAddressField,
    IntegerField,
    JSONField,
    Model,
    Value,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast
from django.test import SimpleTestCase
from django.test.testcases import DatabaseOperationForbidden
from django.test.utils import isolate_apps

from django_layercache.querysets.outbox import DatabaseOutbox
from tests.querysets.conftest import POSTGRES, SQLITE
from tests.querysets.world import cached, elsewhere, uncached, warm
from tests.testapp.models import Author, Comment, Post


class _Undo(Exception):
    pass


def test_a_row_that_a_transaction_inserted_is_not_stored_before_its_commit(world):
    def name():
        return world.all(Author).values_list("name", flat=True).filter(pk=999_999)

    try:
        with transaction.atomic(using=world.alias):
            world.new(Author, pk=999_999, name="never")
            assert cached(name) == ["never"]
            raise _Undo
    except _Undo:
        pass
    assert cached(name) == uncached(name) == []
    world.new(Author, pk=999_999, name="in the end")
    assert cached(name) == elsewhere(cached, name) == ["in the end"]


def test_a_row_inserted_after_a_rollback_is_not_the_one_of_the_same_number_before(world):
    with transaction.atomic(using=world.alias):
        for title in ("first", "second"):
            try:
                with transaction.atomic(using=world.alias):
                    author = world.new(Author, pk=999_999, name=title)
                    assert cached(lambda: world.all(Author).get(pk=author.pk).name) == title  # noqa: B023
                    raise _Undo
            except _Undo:
                pass


class _Forbidden(SimpleTestCase):
    """A test case that may not use a database."""


@pytest.fixture
def forbidden_databases(local_world):
    """What Django does around a SimpleTestCase, once there is something in the store."""
    warm(_names)
    _Forbidden.setUpClass()
    yield
    _Forbidden.doClassCleanups()


def _names():
    return list(Author.objects.values_list("name", flat=True))


@pytest.mark.usefixtures("forbidden_databases")
def test_a_test_case_without_databases_is_not_answered_from_the_store():
    with pytest.raises(DatabaseOperationForbidden):
        cached(_names)
    with pytest.raises(DatabaseOperationForbidden):
        elsewhere(cached, _names)


@pytest.mark.usefixtures("forbidden_databases")
def test_a_test_case_without_databases_may_evaluate_what_needs_none():
    assert cached(lambda: list(Author.objects.none().values())) == []
    assert cached(lambda: Author.objects.filter(pk__in=[]).count()) == 0


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (BinaryField(), (b"0123456789" * 5 + b"a", b"0123456789" * 5 + b"b")),
        (GenericIPAddressField(), ("10.0.0.1", "10.0.0.2")),
        (GenericIPAddressField(), ("::1", "::2")),
    ],
    ids=["bytes", "IPv4", "IPv6"],
)
def test_bytes_and_addresses_can_be_asked_for(local_world, field, values):
    def ask(value):
        constant = Value(value, output_field=field)
        return [
            bytes(answer) if isinstance(answer, memoryview) else answer
            for answer in local_world.all(Author).values_list(constant, flat=True)
        ]

    for value in values:
        assert warm(ask, value) == [value, value]


@pytest.mark.parametrize("alias", [POSTGRES], indirect=True)
@pytest.mark.parametrize(
    "of_postgresql",
    [
        "int4range(1, 5)", "int4range(NULL, 5)", "int8range(1, NULL)", "'empty'::int4range",
        "numrange(1.5, 2.5, '(]')", "daterange('2024-01-01', '2024-02-01')",
        "tstzrange('2024-01-01 12:00+00', NULL)", "ARRAY[int4range(1, 2)]", "ARRAY[1.5, NULL]",
        "'{\"a\": [1]}'::jsonb", "'10.0.0.1'::inet",
    ],
)  # fmt: skip
def test_what_only_postgresql_returns_comes_back_from_the_store(local_world, of_postgresql):
    def ask():
        value = RawSQL(of_postgresql, (), output_field=Field())
        return repr(list(local_world.all(Author).values_list("pk", value)))

    assert warm(ask) == uncached(ask)


@pytest.mark.parametrize("alias", [POSTGRES], indirect=True)
def test_a_dictionary_can_be_a_parameter(local_world):
    def ask(value):
        constant = Value(value, output_field=JSONField())
        return list(local_world.all(Author).values_list(constant, flat=True))

    assert warm(ask, {"a": 1}) == [{"a": 1}] * 2
    assert warm(ask, {"a": "1"}) == [{"a": "1"}] * 2


def test_times_are_those_of_the_time_zone_in_force(world, settings):
    def times():
        as_text = Cast("published", CharField())
        return list(world.all(Post).order_by("pk").values_list("published", as_text))

    for use_tz, zone in [(True, "UTC"), (False, "Asia/Tokyo"), (False, "Asia/Kolkata")]:
        settings.USE_TZ, settings.TIME_ZONE = use_tz, zone
        assert warm(times) == uncached(times)


@pytest.mark.usefixtures("local_world")
def test_a_queryset_is_not_answered_from_the_store_on_an_event_loop():
    async def ask():
        return cached(_names)

    warm(_names)
    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(ask())


def test_checking_constraints_leaves_the_connection_to_the_cache(world):
    world.connection.check_constraints()
    warm(lambda: list(world.all(Author).values_list("name")))


@pytest.mark.parametrize("alias", [POSTGRES], indirect=True)
@pytest.mark.parametrize(
    ("statement", "undo"),
    [
        ("SET TIME ZONE 'Asia/Tokyo'", "RESET TIME ZONE"),
        ("SET TimeZone = 'Asia/Tokyo'", "RESET timezone"),
        ("SELECT set_config('TimeZone', 'Asia/Tokyo', false)", "RESET timezone"),
        ("SET DateStyle = German", "RESET datestyle"),
    ],
)
def test_a_session_that_shows_times_in_its_own_way_is_not_answered_like_another(
    local_world, statement, undo
):
    def times():
        as_text = Cast("published", CharField())
        return list(local_world.all(Post).order_by("pk").values_list(as_text, flat=True))

    warm(times)
    local_world.execute(statement)
    try:
        assert cached(times) == uncached(times)
    finally:
        local_world.execute(undo)
        local_world.connection.close()


@pytest.fixture
def parallel_database(world):
    """What each worker of a parallel test run does: it takes a copy of the test database, made anew for each run."""
    creation, connection = world.connection.creation, world.connection
    own, copy = connection.settings_dict["NAME"], creation.get_test_db_clone_settings("9")["NAME"]

    @contextmanager
    def copied():
        creation.clone_test_db("9", verbosity=0, autoclobber=True)
        connection.close()
        connection.settings_dict["NAME"] = copy
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"] = own

    yield copied
    creation._destroy_test_db(copy, verbosity=0)


@pytest.mark.parametrize("alias", [POSTGRES], indirect=True)
def test_a_database_that_was_made_anew_is_not_the_one_that_had_its_name(world, parallel_database):
    def names():
        return list(world.all(Author).order_by("name").values_list("name", flat=True))

    with parallel_database():
        warm(names)
    world.new(Author, name="Zoe")
    with parallel_database():
        assert cached(names) == uncached(names)


@pytest.mark.usefixtures("local_world")
@pytest.mark.parametrize("alias", [SQLITE], indirect=True)
def test_who_looks_into_an_outbox_leaves_no_connection_to_memory_behind(monkeypatch):
    memory = {**connections.settings["default"], "NAME": "file:memory?mode=memory&cache=shared"}
    monkeypatch.setitem(connections.settings, "default", memory)  # for other threads
    opened = []

    def note(connection, **kwargs):
        opened.append(connection.connection)

    connection_created.connect(note)
    try:
        elsewhere(DatabaseOutbox(["default"]).waiting)
    finally:
        connection_created.disconnect(note)
    (driver,) = opened
    with pytest.raises(ProgrammingError, match="closed"):
        driver.execute("SELECT 1")


@isolate_apps("tests.testapp")
def test_what_no_update_can_set_is_refused_by_django(local_world):
    class Visit(Model):
        number = IntegerField(db_column="post_id")
        post = ForeignObject(Post, CASCADE, ["number"], ["id"], related_name="+")

        class Meta:
            app_label, db_table = "testapp", Comment._meta.db_table

    for visits in (local_world.all(Visit), local_world.all(Visit).filter(pk=1)):
        with pytest.raises((ValueError, FieldError), match=r"Unsaved|only concrete"):
            visits.update(post=Post())
