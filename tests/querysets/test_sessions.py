"""What a session is told decides what its statements mean: none is answered as another session's."""

import psycopg
import pytest
from django.db import connections, transaction

from django_layercache import trace
from django_layercache.querysets.connections import ConnectionState
from django_layercache.querysets.rawsql import effect_of
from tests.querysets.conftest import POSTGRES
from tests.querysets.test_transactions import rename, titles
from tests.querysets.world import World, cached, elsewhere, warm
from tests.testapp.models import Author, Comment, Tag


@pytest.fixture
def world(redis_store):
    return World("postgres")


@pytest.fixture
def tenant(world):
    world.execute("CREATE SCHEMA tenant")
    world.execute("CREATE TABLE tenant.testapp_tag (id bigint, name text)")
    yield world
    world.connection.close()
    world.execute("DROP SCHEMA tenant CASCADE")


def tags(w):
    return list(w.all(Tag).order_by("pk").values_list("name", flat=True))


@POSTGRES.marks[0]
@pytest.mark.parametrize(
    "statement",
    (
        "SET search_path TO tenant",
        "SET SCHEMA 'tenant'",
        "SELECT set_config('search_path', 'tenant', false)",
    ),
)
def test_another_search_path_is_not_answered_from_the_first_ones_entries(tenant, statement):
    assert warm(tags, tenant) == ["red", "green"]
    tenant.execute(statement)
    assert cached(tags, tenant) == []
    tenant.connection.close()
    assert cached(tags, tenant) == ["red", "green"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    (
        ("SET search_path = a, b", True),
        ("SET LOCAL app.tenant = '5'", True),
        ("SET ROLE reader", True),
        ("SET SESSION AUTHORIZATION bob", True),
        ("RESET ALL", True),
        ("SELECT set_config(%s, %s, true)", True),
        ("SELECT set_config('app.tenant', '5', true)", True),
        ("SELECT set_config('statement_timeout', '5', true)", False),
        ("SET statement_timeout = 5000", False),
        ("SET CONSTRAINTS ALL IMMEDIATE", False),  # Django says it in each of its test cases
        ("UPDATE post SET role = 'x'", False),
        ("SELECT 1", False),
    ),
)
def test_statements_that_change_the_meaning_of_others_are_known(sql, expected):
    assert effect_of(sql, "postgresql").means_otherwise is expected


def test_aliases_with_other_options_or_users_share_tags_and_no_entries():
    def state(**more):
        connection = connections["default"].__class__(
            {**connections["default"].settings_dict, **more}
        )
        return ConnectionState(connection)

    first = state()
    for more in ({"OPTIONS": {"options": "-c search_path=tenant"}}, {"USER": "other"}):
        other = state(**more)
        assert first.database == other.database
        assert first.session != other.session


class Context:
    """Does not say what it is: its repr() has an address."""


def test_a_session_is_spelt_alike_in_every_process():
    def session(alias, options):
        connection = connections[alias]
        said = {**connection.settings_dict, "OPTIONS": options}
        return ConnectionState(type(connection)(said, alias)).session

    def here():
        return {"b": [psycopg.ClientCursor, {1, 2}], "a": Context(), "f": session, "c": {"x": 1.5}}

    one, other = here(), here()
    assert session("default", one) == session("default", dict(reversed(other.items())))
    assert " at 0x" not in session("default", one)
    assert session("default", one) != session("other", one)
    assert session("default", {"f": 1}) != session("default", {"f": "1"})
    assert session("default", {"f": 1}) == session("other", {"f": 1})


def test_a_connection_that_is_sent_to_another_database_is_known_for_that(monkeypatch):
    state = ConnectionState(connections["default"])
    here = state.database
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "of-another-tenant.sqlite3")
    assert state.database != here
    monkeypatch.undo()
    assert state.database == here


def test_a_database_may_be_given_an_identity(settings):
    default, other = (ConnectionState(connections[alias]) for alias in ("default", "other"))
    assert default.database != other.database
    settings.LAYERCACHE = {
        "DATABASES": {alias: {"identity": "x"} for alias in ("default", "other")}
    }
    assert default.database == other.database
    settings.LAYERCACHE = {}
    assert default.database != other.database


@POSTGRES.marks[0]
def test_an_isolation_level_that_the_driver_was_told_is_known(world):
    rename(world, "one")
    with transaction.atomic("postgres"):
        cached(titles, world)  # asked once: read committed
    world.connection.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with transaction.atomic("postgres"):
        world.all(Author).count()
        elsewhere(rename, world)
        assert cached(titles, world)[0] == "one"
    assert cached(titles, world)[0] == "changed"
    world.connection.close()


@POSTGRES.marks[0]
def test_what_a_wrapper_of_statements_writes_is_seen(world):
    def audit(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if "INSERT" in sql:
            with context["connection"].cursor() as cursor:
                cursor.execute("UPDATE testapp_post SET title = 'audited'")
        return result

    warm(titles, world)
    with world.connection.execute_wrapper(audit), trace():
        world.new(Comment, post=world.one, text="new")
    assert set(cached(titles, world)) == {"audited"}
