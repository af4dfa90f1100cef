"""What raw SQL is taken to read and to change."""

from contextlib import nullcontext

import pytest
from django.db import connections, transaction

from django_layercache import trace
from django_layercache.querysets import rawsql
from django_layercache.querysets.rawsql import ANYTHING, NOTHING, Effect, effect_of
from tests.testapp.models import Author, Tag

NONE = frozenset()


def effect(sql, vendor="postgresql"):
    return effect_of(sql, vendor)


def writes(sql, vendor="postgresql"):
    return effect_of(sql, vendor).writes


@pytest.mark.parametrize(
    ("sql", "tables"),
    (
        ("INSERT INTO blog_post (a) VALUES (%s)", {"blog_post"}),
        ("insert into public.blog_post (a) select a from other", {"blog_post"}),
        ("UPDATE blog_post SET a = %(a)s WHERE id = %(id)s", {"blog_post"}),
        ("UPDATE blog_post p SET a = o.a FROM other o WHERE o.id = p.id", {"blog_post"}),
        ("DELETE FROM \"Blog_Post\" WHERE a LIKE '%%x'", {"blog_post"}),
        ("TRUNCATE blog_post, blog_tag", {"blog_post", "blog_tag"}),
        (
            "WITH gone AS (DELETE FROM blog_tag RETURNING *) INSERT INTO archive SELECT * FROM gone",
            {"blog_tag", "archive"},
        ),
        ("WITH x AS (UPDATE blog_post SET a = 1 RETURNING id) SELECT * FROM x", {"blog_post"}),
        (
            "MERGE INTO blog_post p USING other o ON p.id = o.id WHEN MATCHED THEN UPDATE SET a = o.a",
            {"blog_post"},
        ),
        ("  -- a comment\n /* and another */ UPDATE blog_post SET a = 1", {"blog_post"}),
        ("SELECT 1; DELETE FROM blog_post", {"blog_post"}),
        ("COPY blog_post FROM '/tmp/file'", {"blog_post"}),
        ('copy public."Blog_Post"(a, "b") from STDIN WITH (FORMAT csv)', {"blog_post"}),
        ("COPY (DELETE FROM blog_tag RETURNING *) TO STDOUT", {"blog_tag"}),
    ),
)
def test_a_statement_changes_the_tables_that_it_names(sql, tables):
    assert tables <= writes(sql)


@pytest.mark.parametrize(
    "sql",
    (
        "CALL refresh_everything()",
        "DO $$ BEGIN DELETE FROM blog_post; END $$",
        "CREATE TABLE x (a int)",
        "ALTER TABLE blog_post ADD COLUMN a int",
        "DROP TABLE blog_post",
        "REFRESH MATERIALIZED VIEW summary",
        "EXPLAIN ANALYZE UPDATE blog_post SET a = 1",
        "EXECUTE prepared_write(1)",
        "SELECT refresh_everything()",
        "SELECT archive_old(id) FROM blog_post",
        "COPY blog_post (a) FROM STDIN; DELETE FROM blog_post",
        "COPY (SELECT refresh_everything()) TO STDOUT",
        "COPY BINARY blog_post FROM '/tmp/file'",
        'CREATE DATABASE "x" WITH TEMPLATE "y"',
        "this is not SQL",
        "TRUNCATE TABLE blog_post RESTART IDENTITY CASCADE",
        "UPDATE blog_post SET a = 1 " + "-- long " * 5000,
    ),
)
def test_a_statement_that_cannot_be_read_changes_anything(sql):
    assert writes(sql) is None


@pytest.mark.parametrize(
    "sql",
    (
        'SELECT "blog_post"."id" FROM "blog_post"',
        "SELECT count(*) FROM blog_post",
        "SELECT * FROM blog_post FOR UPDATE",
        "select setval('s', 3)",
        "SELECT pg_catalog.set_config('x', 'y', false)",
        "SHOW server_version",
        "SAVEPOINT x",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "PRAGMA foreign_keys = ON",
        "ROLLBACK TO SAVEPOINT x",
        "VACUUM",
        "EXPLAIN SELECT * FROM blog_post",
        "COPY blog_post (a, b) TO STDOUT",
        "COPY (SELECT a FROM blog_post WHERE b IN (1, 2)) TO STDOUT WITH (FORMAT csv)",
    ),
)
def test_a_statement_that_only_reads_changes_nothing(sql):
    assert writes(sql) == NONE


@pytest.mark.parametrize(
    ("sql", "control"),
    (
        ("BEGIN", "begin"),
        ("begin immediate", "begin"),
        ("START TRANSACTION", "begin"),
        ("COMMIT", "commit"),
        ("END;", "commit"),
        ("ROLLBACK", "rollback"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "isolation"),
        ("SET default_transaction_isolation = 'repeatable read'", "isolation"),
        ("SET TRANSACTION READ WRITE", "isolation"),
        ("SET TRANSACTION NOT DEFERRABLE", "isolation"),
        ("RESET default_transaction_deferrable", "isolation"),
    ),
)
def test_a_statement_that_steers_the_transaction_is_known(sql, control):
    assert effect(sql) == Effect(control=control)


@pytest.mark.parametrize(
    ("sql", "names"),
    (
        ("SELECT set_config('default_transaction_isolation', 'serializable', false)", True),
        ("SELECT set_config(%s, %s, false)", True),
        ("SELECT set_config('search_path', 'tenant', false)", False),
        ("SET TRANSACTION READ ONLY", False),
        ("SELECT isolation FROM blog_post", False),
    ),
)
def test_a_statement_that_may_name_an_isolation_level_is_known(sql, names):
    assert effect(sql).names_isolation is names


def test_a_query_with_a_word_of_isolation_in_it_reads_what_it_reads():
    assert "blog_post" in effect("SELECT isolation, level FROM blog_post").reads


@pytest.mark.parametrize(
    ("sql", "tables"),
    (
        ("SELECT * FROM blog_post p JOIN blog_author a ON a.id = p.author_id", {"blog_post", "blog_author"}),
        ("SELECT * FROM blog_post, blog_author", {"blog_post", "blog_author"}),
        ("SELECT * FROM blog_post WHERE id IN (SELECT post_id FROM blog_comment)", {"blog_post", "blog_comment"}),
        ("SELECT (SELECT max(id) FROM blog_comment) UNION SELECT id FROM blog_tag", {"blog_comment", "blog_tag"}),
    ),
)  # fmt: skip
@pytest.mark.parametrize("vendor", ("sqlite", "postgresql"))
def test_a_query_reads_the_tables_that_it_names(sql, tables, vendor):
    assert effect(sql, vendor).reads >= tables


@pytest.mark.parametrize(
    "sql", ("FETCH 10 FROM c", "DECLARE c CURSOR FOR SELECT 1", "TABLE blog_post")
)
def test_of_some_queries_nobody_knows_what_they_read(sql):
    assert effect(sql).reads is None


def test_without_the_parser_whatever_is_not_plainly_a_query_changes_anything(monkeypatch):
    monkeypatch.setattr(rawsql, "HAS_PARSER", False)
    of = rawsql._effect_of.__wrapped__
    assert of("UPDATE blog_post SET a = 1", "postgresql") == ANYTHING
    assert of("SELECT * FROM blog_post", "postgresql") == Effect(reads=None)
    assert of('SELECT "id" FROM "blog_post"', "postgresql") == Effect(
        reads=frozenset({"blog_post"})
    )
    assert of("SAVEPOINT x", "postgresql") == NOTHING


def test_the_parser_does_not_warn_of_what_it_cannot_read(caplog):
    rawsql._effect_of.cache_clear()
    assert writes("DO $$ BEGIN DELETE FROM blog_post; END $$ -- quietly") is None
    assert caplog.records == []


# -- statements that reach the driver's cursor by name ------------------------------------------


def count(using):
    with trace() as events:
        number = Author.objects.using(using).cached().count()
    return number, events[-1].outcome


@pytest.mark.django_db(transaction=True)
def test_a_script_changes_anything():
    assert count("default") == (0, "miss")
    assert count("default") == (0, "hit")
    with connections["default"].cursor() as cursor:
        cursor.executescript("INSERT INTO testapp_author (name) VALUES ('a');")
    assert count("default") == (1, "miss")


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.parametrize("atomic", (False, True))
def test_copy_changes_anything(atomic):
    assert count("postgres") == (0, "miss")
    with connections["postgres"].cursor() as cursor:
        if atomic:
            with (
                transaction.atomic(using="postgres"),
                cursor.copy("COPY testapp_author (name) FROM STDIN") as copy,
            ):
                copy.write_row(["a"])
        else:
            with cursor.copy("COPY testapp_author (name) FROM STDIN") as copy:
                copy.write_row(["a"])
                assert count_elsewhere() == "bypass"
    assert count("postgres") == (1, "miss")
    assert count("postgres") == (1, "hit")


def count_elsewhere():
    import threading

    outcomes = []

    def run():
        outcomes.append(count("postgres")[1])
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcomes[0]


def tags(using):
    with trace() as events:
        names = [tag.name for tag in Tag.objects.using(using).cached()]
    return names, events[-1].outcome


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.parametrize("atomic", (False, True))
def test_copying_into_one_table_leaves_the_others_alone(atomic):
    count("postgres"), tags("postgres")
    with (
        connections["postgres"].cursor() as cursor,
        transaction.atomic(using="postgres") if atomic else nullcontext(),
        cursor.copy("COPY testapp_tag (name) FROM STDIN") as copy,
    ):
        copy.write_row(["a"])
    assert tags("postgres") == (["a"], "miss")
    assert count("postgres") == (0, "hit")


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_copying_out_of_a_table_changes_nothing():
    count("postgres")
    with connections["postgres"].cursor() as cursor:
        for statement in ("testapp_author", "(SELECT * FROM testapp_author)"):
            with cursor.copy(f"COPY {statement} TO STDOUT") as copy:
                assert list(copy.rows()) == []
    assert count("postgres") == (0, "hit")


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_stream_of_a_query_changes_nothing_and_comes_row_by_row():
    count("postgres")
    with connections["postgres"].cursor() as cursor:
        rows = cursor.stream("SELECT n, count(*) OVER () FROM generate_series(1, 3) AS n")
        assert next(rows) == (1, 3)
        rows.close()
    assert count("postgres") == (0, "hit")


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_stream_may_change_anything():
    assert count("postgres") == (0, "miss")
    with connections["postgres"].cursor() as cursor:
        rows = list(cursor.stream("INSERT INTO testapp_author (name) VALUES ('a') RETURNING name"))
    assert rows == [("a",)]
    assert count("postgres") == (1, "miss")
