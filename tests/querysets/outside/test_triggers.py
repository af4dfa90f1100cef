"""What the triggers tell: which rows, after the commit, whoever wrote them; and how they are installed."""

import pytest
from django.core.management import CommandError, call_command

from tests.querysets.conftest import on
from tests.querysets.outside.conftest import another_program, triggers_command

pytestmark = on("default", "postgres")


def told(heard):
    """Of each table the columns that were told, of the last notification."""
    return {table: one["columns"] for one in heard() for table in one["tables"]}


def test_the_keys_of_changed_rows_are_told(world, heard, elsewhere):
    elsewhere.execute("UPDATE testapp_author SET name = 'x' WHERE id = %s", [world.ada.pk])
    assert told(heard) == {"testapp_author": {"id": [world.ada.pk]}}
    elsewhere.execute("DELETE FROM testapp_profile")
    assert told(heard) == {"testapp_profile": {"author_id": [world.ada.pk]}}


def test_old_and_new_values_are_told(world, heard, elsewhere):
    elsewhere.execute(
        "UPDATE testapp_post_tags SET post_id = %s WHERE post_id = %s",
        [world.three.pk, world.one.pk],
    )
    columns = told(heard)["testapp_post_tags"]
    assert columns["post_id"] == [world.one.pk, world.three.pk]
    assert columns["tag_id"] == [world.red.pk]


def test_nothing_is_told_before_the_commit_nor_after_a_rollback(heard, elsewhere):
    with elsewhere.transaction(force_rollback=True):
        elsewhere.execute("UPDATE testapp_author SET name = 'x'")
        assert heard() == []
    assert heard() == []


def test_a_statement_that_finds_no_row_tells_nothing(heard, elsewhere):
    elsewhere.execute("UPDATE testapp_author SET name = 'x' WHERE false")
    elsewhere.execute("DELETE FROM testapp_author WHERE false")
    elsewhere.execute("INSERT INTO testapp_tag (name) SELECT 'x' WHERE false")
    assert heard() == []


def test_many_rows_are_rows_that_nobody_knows(heard, elsewhere):
    insert = "INSERT INTO testapp_tag (name) SELECT 'tag ' || n FROM generate_series(1, %s) n"
    elsewhere.execute(insert, [100])
    assert len(told(heard)["testapp_tag"]["id"]) == 100
    elsewhere.execute("DELETE FROM testapp_tag WHERE name LIKE 'tag %'")
    elsewhere.execute(insert, [101])
    assert told(heard)["testapp_tag"] == {}


def test_a_long_text_may_be_a_secret_and_is_not_told(heard, elsewhere):
    elsewhere.execute("ALTER TABLE testapp_country ALTER code TYPE varchar(40)")
    for length in (24, 25):
        row = ["s" * length, "x"]
        elsewhere.execute("INSERT INTO testapp_country (code, name) VALUES (%s, %s)", row)
    keys = [one["columns"]["code"] for one in heard()]
    elsewhere.execute("DELETE FROM testapp_country")
    elsewhere.execute("ALTER TABLE testapp_country ALTER code TYPE varchar(8)")
    assert keys == [["s" * 24], None]


def test_a_program_that_invalidates_by_itself_needs_not_be_told_of(world, heard):
    with another_program(options="-c layercache.watched=on") as program:
        program.execute("UPDATE testapp_author SET name = 'x'")
        assert heard() == []
        # What the database's own triggers do on its behalf, it does not see either.
        world.execute("""
            CREATE FUNCTION testapp_follow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE testapp_tag SET name = name || '!'; RETURN NULL; END $$;
            CREATE TRIGGER follow AFTER UPDATE ON testapp_author EXECUTE FUNCTION testapp_follow()
        """)
        heard()
        try:
            program.execute("UPDATE testapp_author SET name = 'y'")
            assert set(told(heard)) == {"testapp_tag"}
        finally:
            world.execute("DROP FUNCTION testapp_follow() CASCADE")


def test_a_program_that_says_it_is_a_replica_is_heard_too(heard, elsewhere):
    elsewhere.execute("SET session_replication_role = replica")
    elsewhere.execute("UPDATE testapp_author SET name = 'x'")
    assert set(told(heard)) == {"testapp_author"}


def test_a_program_that_may_only_insert_is_heard_too(heard, elsewhere):
    elsewhere.execute("""
        CREATE ROLE inserter;
        GRANT INSERT ON testapp_country TO inserter;
        REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
        SET ROLE inserter
    """)
    try:
        elsewhere.execute("INSERT INTO testapp_country (code, name) VALUES ('DE', 'Germany')")
        assert told(heard) == {"testapp_country": {"code": ["DE"]}}
    finally:
        elsewhere.execute("""
            RESET ROLE;
            GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;
            DROP OWNED BY inserter;
            DROP ROLE inserter
        """)


def test_a_column_that_is_gone_is_no_reason_to_fail(world, heard, elsewhere):
    elsewhere.execute("ALTER TABLE testapp_ticket RENAME COLUMN id TO number")
    try:
        elsewhere.execute("UPDATE testapp_ticket SET text = 'x'")
        assert told(heard) == {"testapp_ticket": {}}
        assert triggers_command("show", "testapp.ticket") == {"public.testapp_ticket": "outdated"}
    finally:
        elsewhere.execute("ALTER TABLE testapp_ticket RENAME COLUMN number TO id")


# -- tables below others -------------------------------------------------------------------------
@pytest.fixture
def tenant(world, elsewhere):
    """A schema with a partitioned table of a model's name, with partitions of partitions."""
    elsewhere.execute("""
        CREATE SCHEMA "Odd ""name";
        SET search_path TO "Odd ""name";
        CREATE TABLE testapp_tag (id bigint, name text) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF testapp_tag FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
        CREATE TABLE "Lowest one" PARTITION OF low FOR VALUES FROM (0) TO (50);
        CREATE TABLE middle PARTITION OF low FOR VALUES FROM (50) TO (100);
        RESET search_path
    """)
    yield '"Odd ""name".testapp_tag'
    elsewhere.execute('DROP SCHEMA "Odd ""name" CASCADE')


def test_what_is_written_to_a_partition_is_told_of_the_models_table(tenant, heard, elsewhere):
    assert len(triggers_command("install", tenant)) == 4
    for table in (tenant, '"Odd ""name"."Lowest one"'):
        elsewhere.execute(f"INSERT INTO {table} VALUES (7, 'seven')")
        assert told(heard) == {"testapp_tag": {"id": [7], "name": ["seven"]}}
    elsewhere.execute('TRUNCATE "Odd ""name".low')
    assert told(heard) == {"testapp_tag": {}}


def test_a_row_that_moves_between_partitions_is_told_once_with_both_keys(tenant, heard, elsewhere):
    triggers_command("install", tenant)
    elsewhere.execute(f"INSERT INTO {tenant} VALUES (7, 'seven')")
    heard()
    elsewhere.execute(f"UPDATE {tenant} SET id = 70")
    assert [one["columns"] for one in heard()] == [{"id": [7, 70], "name": ["seven"]}]


def test_a_partition_that_was_added_is_found_missing(tenant, heard, elsewhere):
    triggers_command("install", tenant)
    elsewhere.execute(
        f'CREATE TABLE "Odd ""name".high PARTITION OF {tenant} FOR VALUES FROM (100) TO (200)'
    )
    assert triggers_command("show")['Odd "name.high'] == "missing"
    assert triggers_command("install", tenant)['Odd "name.high'] == "installed"


def test_what_is_written_to_a_table_that_inherits_is_told_of_both(world, heard, elsewhere):
    elsewhere.execute("CREATE TABLE testapp_special () INHERITS (testapp_tag)")
    try:
        triggers_command("install", "testapp.tag")
        elsewhere.execute("INSERT INTO testapp_special (id, name) VALUES (1000, 'special')")
        assert told(heard) == {"testapp_tag": {"id": [1000], "name": ["special"]}}
        elsewhere.execute("UPDATE testapp_tag SET name = 'x' WHERE id = 1000")
        assert told(heard) == {"testapp_tag": {"id": [1000], "name": ["special", "x"]}}
    finally:
        elsewhere.execute("DROP TABLE testapp_special")


def test_a_table_that_was_renamed_is_told_by_its_new_name(heard, elsewhere):
    elsewhere.execute("ALTER TABLE testapp_tag RENAME TO testapp_label")
    try:
        elsewhere.execute("UPDATE testapp_label SET name = name")
        assert set(told(heard)) == {"testapp_label"}
    finally:
        elsewhere.execute("ALTER TABLE testapp_label RENAME TO testapp_tag")


# -- the command ---------------------------------------------------------------------------------
def test_installing_twice_does_nothing(triggers, elsewhere):
    oids = "SELECT oid FROM pg_trigger WHERE tgname LIKE 'layercache%'"
    before = elsewhere.execute(oids).fetchall()
    assert len(before) > 40
    assert set(triggers_command("install", "testapp.*").values()) == {"up to date"}
    assert elsewhere.execute(oids).fetchall() == before


def test_what_is_incomplete_is_shown_and_replaced(triggers, elsewhere):
    elsewhere.execute("DROP TRIGGER layercache_update ON testapp_tag")
    elsewhere.execute("ALTER TABLE testapp_post DISABLE TRIGGER layercache_delete")
    shown = triggers_command("show")
    outdated = {"public.testapp_tag", "public.testapp_post"}
    assert {table for table, state in shown.items() if state == "outdated"} == outdated
    done = triggers_command("install", "testapp.*")
    assert {table for table, state in done.items() if state == "installed"} == outdated
    assert set(triggers_command("show").values()) == {"installed"}


def test_removing_leaves_nothing_behind(triggers, elsewhere):
    triggers_command("remove", "testapp.tag")
    assert triggers_command("show", "testapp.tag") == {"public.testapp_tag": "missing"}
    elsewhere.execute("CREATE TABLE public.gone (LIKE testapp_tag)")
    assert len(triggers_command("remove")) > 10
    left = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'layercache%'"
    elsewhere.execute("DROP TABLE public.gone")
    assert elsewhere.execute(left).fetchone() == (0,)


def test_a_function_whose_table_is_gone_is_removed_too(tenant, triggers, elsewhere):
    triggers_command("install", tenant)
    elsewhere.execute(f"DROP TABLE {tenant} CASCADE")
    triggers_command("remove")
    left = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'layercache%'"
    assert elsewhere.execute(left).fetchone() == (0,)


@pytest.mark.parametrize(
    "name", ("nowhere", "testapp.nothing", "testapp.busy", "pg_catalog.pg_class")
)
def test_what_no_model_reads_or_is_no_table_is_refused(world, elsewhere, name):
    elsewhere.execute("CREATE VIEW testapp_busy AS SELECT 1 AS author_id, 1 AS posts")
    try:
        with pytest.raises(CommandError, match="is no model"):
            triggers_command("install", name)
    finally:
        elsewhere.execute("DROP VIEW testapp_busy")


def test_it_is_refused_where_there_are_no_such_triggers(db):
    for command in (["layercache_triggers", "show"], ["layercache_listen"]):
        with pytest.raises(CommandError, match="not a PostgreSQL database"):
            call_command(*command, database="default")
    with pytest.raises(CommandError, match="Name what"):
        call_command("layercache_triggers", "install", database="postgres")
