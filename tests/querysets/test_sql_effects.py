"""Statements that hide what they change."""

import pytest

from django_layercache.querysets.rawsql import effect_of
from django_layercache.querysets.sqltext import scan


@pytest.mark.parametrize(
    "sql",
    (
        "SET lock_timeout = '5s'; UPDATE post SET a = 1",
        "SAVEPOINT x; DELETE FROM post",
        "LOCK TABLE post; TRUNCATE post",
        "SELECT 1; DROP TABLE post",
        "SELECT 1; COMMIT",
        'SELECT "shout"()',
        'SELECT "public"."shout" (5)',
        'SELECT * FROM "shout"() AS done',
        "SELECT public.shout()",
        "VALUES (shout())",
        "EXPLAIN (ANALYZE, VERBOSE) DELETE FROM post",
        "SELECT * INTO TABLE other FROM post",
        "TRUNCATE ONLY author CASCADE",
    ),
)
def test_a_hidden_change_is_suspected(sql):
    writes = effect_of(sql, "postgresql").writes
    assert writes is None or writes


@pytest.mark.parametrize(
    "sql",
    (
        'SELECT "post"."id" FROM "post" WHERE ("post"."id" IN (1, 2))',
        'SELECT COUNT("post"."id") FILTER (WHERE "post"."id" > 1) FROM "post"',
        'WITH "x" ("a") AS (SELECT 1) SELECT "x"."a" FROM "x"',
        'SELECT * FROM (VALUES (1)) AS "v" ("a")',
        "SET search_path = a, b;",
    ),
)
def test_what_only_looks_like_a_change_is_none(sql):
    assert effect_of(sql, "postgresql").writes == frozenset()


@pytest.mark.parametrize(
    ("sql", "columns"),
    (
        ('UPDATE post SET a = 1, "B" = c + 1 FROM author x WHERE x.id = author_id', {"a", "b"}),
        ("UPDATE post SET a = (SELECT 1 FROM author) RETURNING id", {"a"}),
        ("UPDATE post SET (a, b) = (1, 2)", None),
        ("UPDATE post SET a[1] = 2", None),
        ("UPDATE post SET a.b = 2", None),
        ("UPDATE post SET a = 1; UPDATE post SET b = 1", None),
        ("WITH x AS (DELETE FROM author RETURNING *) UPDATE post SET a = 1", None),
        ("INSERT INTO post (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1", None),
        ("MERGE INTO post p USING x ON true WHEN MATCHED THEN UPDATE SET a = 1", None),
        ("DELETE FROM post", None),
    ),
)
def test_the_columns_of_an_update_are_known_where_it_does_nothing_else(sql, columns):
    assert effect_of(sql, "postgresql").columns == columns


def test_what_compilers_write_is_not_taken_for_handwriting():
    sql = (
        'SELECT "a"."x" FROM "a" INNER JOIN "b" ON ("a"."x" = "b"."y") , "c" WHERE "a"."x" IN (%s)'
    )
    assert scan(sql).handwritten is None
    assert set(scan(sql).tables) == {"a", "b", "c"}


def test_the_second_phase_of_a_commit_may_have_changed_anything():
    assert effect_of("COMMIT PREPARED 'x'", "postgresql").writes is None
    assert effect_of("PREPARE TRANSACTION 'x'", "postgresql").control == "prepare"
