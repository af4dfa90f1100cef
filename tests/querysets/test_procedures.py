"""What stored procedures change is what the settings say of them; of others, nobody knows."""

import pytest
from django.db import NotSupportedError, connections, transaction
from django.db.models import Func, IntegerField, Value

from django_layercache import trace
from django_layercache.querysets.procedures import as_declared
from django_layercache.querysets.rawsql import effect_of
from tests.querysets.conftest import STORES, on
from tests.querysets.test_transactions import rename, titles
from tests.querysets.world import World, cached, elsewhere, is_hit, outcomes, warm
from tests.testapp.models import Author, Country, Tag

POSTGRES = on("default", "postgres")

DECLARED = {
    "testapp_shout": ["testapp.post"],
    "Stats.Refresh": ["testapp_tag", "testapp.book"],
    "harmless": [],
    "nonsense": ["testapp.pots"],
}


def changed(sql, vendor="postgresql"):
    effect = as_declared(effect_of(sql, vendor))
    return effect.writes


@pytest.fixture(autouse=True)
def declared(settings):
    settings.LAYERCACHE = {"PROCEDURES": DECLARED}


@pytest.mark.parametrize(
    ("sql", "tables"),
    (
        ("CALL testapp_shout()", {"testapp_post"}),
        ("/* now */ call Public.TestApp_Shout(1, %s);", {"testapp_post"}),
        ('CALL "public"."testapp_shout"()', {"testapp_post"}),
        ("SELECT testapp_shout(5)", {"testapp_post"}),
        ("SELECT * FROM testapp_shout() AS done", {"testapp_post"}),
        ('SELECT "testapp_shout"()', {"testapp_post"}),
        ("SELECT testapp_shout(), harmless(id) FROM testapp_author", {"testapp_post"}),
        ("SELECT stats.refresh()", {"testapp_tag", "testapp_book", "testapp_work"}),
        ("CALL harmless()", set()),
        ("CALL harmless(testapp_shout())", {"testapp_post"}),
        ("UPDATE testapp_tag SET name = testapp_shout()", {"testapp_tag", "testapp_post"}),
        ("UPDATE testapp_tag SET name = harmless(name)", {"testapp_tag"}),
        ("INSERT INTO testapp_tag (name) SELECT public.harmless()", {"testapp_tag"}),
        (
            "WITH x AS (DELETE FROM testapp_tag RETURNING id) SELECT testapp_shout() FROM x",
            {"testapp_tag", "testapp_post"},
        ),
    ),
)
def test_a_declared_procedure_changes_what_is_declared(sql, tables):
    assert changed(sql) == tables


@pytest.mark.parametrize(
    "sql",
    (
        "CALL unknown()",
        "CALL nonsense()",
        "SELECT refresh()",  # of another schema than the one that was declared
        "UPDATE testapp_tag SET name = stats2.refresh()",
        "SELECT harmless(), unknown()",
        "CALL harmless(unknown())",
        "UPDATE testapp_tag SET name = unknown()",
        "INSERT INTO testapp_tag (name) VALUES (public.unknown())",
        "CALL harmless(); DELETE FROM testapp_post",
        "SELECT harmless(); DROP TABLE testapp_post",
        "EXECUTE harmless",
    ),
)
def test_what_is_not_declared_changes_anything(sql):
    assert changed(sql) is None


@pytest.mark.parametrize("value", (None, [], {"harmless": None}, {"harmless": "testapp.post"}))
def test_wrong_settings_declare_nothing(settings, value):
    settings.LAYERCACHE = {"PROCEDURES": value}
    assert changed("CALL harmless()") is None


def test_what_a_procedure_may_delete_takes_along_what_the_database_cascades_to():
    assert as_declared(effect_of("CALL testapp_shout()", "postgresql")).deletes == {"testapp_post"}


# -- what they read ------------------------------------------------------------------------------
class Popularity(Func):
    function = "popularity"
    output_field = IntegerField()


def popularity(connection, comments):
    connection.ensure_connection()
    connection.connection.create_function("popularity", 1, lambda n: len(comments) + n)


@pytest.fixture
def comments():
    """What ``popularity()`` counts, which is here instead of in a table."""
    found = []
    popularity(connections["default"], found)
    yield found
    connections["default"].close()


def read():
    queryset = Tag.objects.annotate(n=Popularity(Value(1))).cached().values_list("n", flat=True)
    with trace() as events:
        values = list(queryset)
    return values, [event.outcome for event in events if event.layer == "querysets"]


@on("default")
def test_a_query_that_calls_what_reads_nobody_knows_what_is_not_cached(settings, comments):
    for declared in ({}, {"popularity": []}, {"popularity": {"changes": []}}):
        settings.LAYERCACHE = {"PROCEDURES": declared}
        Tag.objects.get_or_create(name="a")
        assert read() == read() == ([1], [])


@on("default")
def test_a_query_that_calls_what_is_declared_is_cached_and_depends_on_that(settings, comments):
    settings.LAYERCACHE = {"PROCEDURES": {"popularity": {"reads": ["testapp.country"]}}}
    Tag.objects.create(name="a")
    assert read() == ([1], ["miss"])
    assert read() == ([1], ["hit"])
    comments.append("wonderful")
    assert read() == ([1], ["hit"])
    Author.objects.create(name="a")
    assert read() == ([1], ["hit"])
    Country.objects.create(code="FR")
    assert read() == ([2], ["miss"])


@on("default")
def test_a_query_that_calls_what_changes_something_is_not_cached(settings, comments):
    settings.LAYERCACHE = {
        "PROCEDURES": {"popularity": {"reads": [], "changes": ["testapp.country"]}}
    }
    Tag.objects.create(name="a")
    assert read() == read() == ([1], [])


# -- with a database -----------------------------------------------------------------------------
def tags(w):
    return list(w.all(Tag).order_by("pk"))


@pytest.fixture
def world(redis_server, settings):
    settings.LAYERCACHE = {**STORES["redis"], "PROCEDURES": DECLARED}
    world = World("postgres")
    world.execute("""
        CREATE OR REPLACE FUNCTION testapp_shout() RETURNS integer LANGUAGE sql AS
        $$ UPDATE testapp_post SET title = upper(title); SELECT 1 $$;
        CREATE OR REPLACE PROCEDURE testapp_proceed() LANGUAGE plpgsql AS
        $$ BEGIN UPDATE testapp_post SET title = upper(title); COMMIT; UPDATE testapp_tag SET name = 'x' || id; END $$
    """)
    return world


def by_callproc(w):
    with w.connection.cursor() as cursor:
        cursor.callproc("testapp_shout")


def by_select(w):
    w.execute("SELECT testapp_shout()")


@POSTGRES
@pytest.mark.parametrize("call", (by_callproc, by_select))
@pytest.mark.parametrize("atomic", (False, True))
def test_a_call_invalidates_what_was_declared_and_nothing_else(world, call, atomic):
    warm(titles, world), warm(tags, world)
    if atomic:
        with transaction.atomic("postgres"):
            call(world)
            assert cached(titles, world)[0] == "ONE"
            assert elsewhere(cached, titles, world)[0] == "one"
    else:
        call(world)
    assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "ONE"
    assert is_hit(tags, world)


@POSTGRES
def test_a_procedure_that_commits_by_itself_is_seen_whole(world):
    warm(titles, world), warm(tags, world)
    world.execute("CALL testapp_proceed()")
    assert cached(titles, world)[0] == "ONE"
    assert outcomes(tags, world) == ["miss"]


@POSTGRES
def test_a_call_may_be_what_takes_the_snapshot(world):
    world.execute("""
        CREATE OR REPLACE FUNCTION harmless() RETURNS bigint LANGUAGE sql AS
        $$ SELECT count(*) FROM testapp_post $$
    """)
    warm(titles, world)
    with transaction.atomic("postgres"):
        world.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with world.connection.cursor() as cursor:
            cursor.callproc("harmless")
        elsewhere(rename, world)
        elsewhere(warm, titles, world)
        assert cached(titles, world)[0] == "one"
    assert cached(titles, world)[0] == "changed"


@pytest.mark.django_db
def test_where_there_are_no_procedures_the_error_is_djangos():
    with (
        connections["default"].cursor() as cursor,
        pytest.raises((NotSupportedError, AttributeError)) as error,
    ):
        cursor.callproc("testapp_shout")
    with connections["default"].cursor() as cursor, pytest.raises(type(error.value)) as plain:
        type(cursor).callproc._layercache_original(cursor, "testapp_shout")
    assert str(error.value) == str(plain.value)
