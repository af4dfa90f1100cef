"""Every way of writing, by name. ``POSTGRES_ONLY`` names those that SQLite does not have."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import transaction
from django.db.models import Case, Count, F, OuterRef, Subquery, Value, When

from tests.querysets.world import START, manual_commits
from tests.testapp.models import (
    Author,
    Book,
    Category,
    Club,
    Comment,
    Country,
    Folder,
    LoudAuthor,
    Membership,
    Note,
    Post,
    Profile,
    Tag,
    Ticket,
    Work,
)  # fmt: skip

WRITES = {}
POSTGRES_ONLY = {}
SQLITE_ONLY = {}


def write(function):
    WRITES[function.__name__] = function
    return function


def postgres_only(function):
    POSTGRES_ONLY[function.__name__] = function
    return function


def sqlite_only(function):
    SQLITE_ONLY[function.__name__] = function
    return function


def new_post(w, **fields):
    return Post(**{"author": w.ada, "title": "new", "views": 9, "published": START, **fields})


# -- instances -----------------------------------------------------------------------------------
@write
def save_a_new_row(w):
    new_post(w).save(using=w.alias)


@write
def save_a_changed_row(w):
    w.one.title = "changed"
    w.one.save()


@write
def save_some_fields(w):
    w.one.views = 50
    w.one.save(update_fields=["views"])


@write
def save_a_row_under_a_chosen_key(w):
    new_post(w, pk=w.three.pk + 1000).save(using=w.alias, force_insert=True)


@write
def save_an_expression(w):
    w.one.views = F("views") + 1
    w.one.save()


@write
def delete_a_row(w):
    w.all(Comment).get(pk=w.comment.pk).delete()


@write
def delete_a_row_and_what_hangs_on_it(w):
    w.all(Author).get(pk=w.ada.pk).delete()


@write
def delete_a_row_and_orphan_what_hangs_on_it(w):
    w.all(Category).get(pk=w.news.pk).delete()


@write
def save_a_child_and_its_parent(w):
    w.book.title, w.book.pages = "another", 11
    w.book.save()


@write
def save_the_parent_of_a_child(w):
    Work.objects.using(w.alias).filter(pk=w.book.pk).get().delete()


@write
def save_through_a_proxy(w):
    author = LoudAuthor.objects.using(w.alias).get(pk=w.ada.pk)
    author.name = "ADA"
    author.save()


@write
def save_one_to_one(w):
    w.profile.motto = "backwards"
    w.profile.save()


@write
def save_without_a_number(w):
    w.ticket.text = "changed"
    w.ticket.save()
    w.country.name = "La France"
    w.country.save()


# -- querysets -----------------------------------------------------------------------------------
@write
def update_all(w):
    w.all().update(views=7)


@write
def update_some(w):
    w.all().filter(title="one").update(title="changed")


@write
def update_by_key(w):
    w.all().filter(pk=w.one.pk).update(title="changed")


@write
def update_by_keys(w):
    w.all().filter(pk__in=[w.one.pk, w.two.pk]).update(title="changed")


@write
def update_to_an_expression(w):
    w.all().update(
        views=F("views") * 2, title=Case(When(views=1, then=Value("was one")), default="title")
    )


@write
def update_to_a_subquery(w):
    n = Comment.objects.filter(post=OuterRef("pk")).order_by().values("post").annotate(n=Count("*"))
    w.all().filter(comments__isnull=False).update(views=Subquery(n.values("n")))


@write
def update_over_a_join(w):
    w.all().filter(author__name="Ada", tags__name="red").update(views=99)


@write
def update_a_foreign_key(w):
    w.all().filter(pk=w.one.pk).update(author=w.bob, category=None)


@write
def update_a_key(w):
    w.all(Country).filter(pk="FR").update(code="FRA")


@write
def update_a_parents_field_through_its_child(w):
    w.all(Book).filter(pk=w.book.pk).update(title="another", pages=11)


@write
def delete_some(w):
    w.all().filter(views__gt=1).delete()


@write
def delete_fast(w):
    w.all(Comment).filter(text="first").delete()


@write
def delete_raw(w):
    queryset = w.all(Comment).filter(text="first")
    queryset._raw_delete(w.alias)


@write
def bulk_create(w):
    w.all().bulk_create([new_post(w), new_post(w, title="newer", author=w.bob)])


@write
def bulk_create_ignoring_conflicts(w):
    w.all(Tag).bulk_create([Tag(name="red"), Tag(name="blue")], ignore_conflicts=True)


@write
def bulk_create_updating_conflicts(w):
    changed = [Post(pk=w.one.pk, title="upserted", author=w.bob, views=1, published=START)]
    w.all().bulk_create(
        changed, update_conflicts=True, update_fields=["title", "author"], unique_fields=["id"]
    )


@write
def bulk_update(w):
    w.one.title, w.two.views = "changed", 30
    w.all().bulk_update([w.one, w.two], ["title", "views"])


@write
def get_or_create(w):
    w.all(Category).get_or_create(name="sports")
    w.all().get_or_create(title="four", defaults={"author": w.ada, "published": START})


@write
def update_or_create(w):
    w.all().update_or_create(title="one", defaults={"views": 70})
    w.all().update_or_create(title="four", defaults={"author": w.ada, "published": START})


@write
def asynchronously(w):
    async def change():
        await w.all(Category).acreate(name="sports")
        await w.all().filter(pk=w.one.pk).aupdate(title="changed")
        w.two.views = 20
        await w.two.asave()
        await w.all(Comment).filter(text="first").adelete()

    async_to_sync(change)()


# -- relations -----------------------------------------------------------------------------------
@write
def add_to_many(w):
    w.three.tags.add(w.green, w.red)


@write
def remove_from_many(w):
    w.one.tags.remove(w.red)


@write
def set_many(w):
    w.two.tags.set([w.green])


@write
def clear_many(w):
    w.two.tags.clear()


@write
def add_to_many_from_behind(w):
    w.green.posts.add(w.three)


@write
def create_in_many(w):
    w.one.tags.create(name="blue")


@write
def add_with_a_model_between(w):
    w.club.members.add(w.bob, through_defaults={"since": 2020})
    w.all(Membership).filter(author=w.ada).update(since=1980)


@write
def add_to_a_foreign_key_from_behind(w):
    w.bob.posts.add(w.one, bulk=True)


@write
def remove_from_a_foreign_key_from_behind(w):
    w.art.posts.clear()


@write
def create_in_a_relation(w):
    w.one.comments.create(text="third", created=START)


@write
def change_a_generic_relation(w):
    w.work.notes.create(text="another note")
    w.work.notes.filter(text="a note").update(text="changed")


@write
def change_a_self_relation(w):
    w.new(Folder, name="twig", parent=w.leaf)
    w.root.friends.clear()


# -- SQL -----------------------------------------------------------------------------------------
@write
def sql_insert(w):
    w.execute(
        "INSERT INTO testapp_comment (post_id, text, created) VALUES (%s, 'raw', %s)",
        [w.one.pk, START],
    )


@write
def sql_update(w):
    w.execute("UPDATE testapp_post SET title = 'changed' WHERE id = %s", [w.one.pk])


@write
def sql_update_of_a_quoted_table(w):
    w.execute('update "testapp_post" set "views" = "views" + 1')


@write
def sql_delete(w):
    w.execute("-- why\n/* not */ DELETE FROM testapp_comment WHERE text LIKE 'f%%'", [])


@write
def sql_insert_from_a_query(w):
    w.execute("INSERT INTO testapp_tag (name) SELECT title FROM testapp_post")


@write
def sql_upsert(w):
    w.execute(
        "INSERT INTO testapp_tag (name) VALUES ('red'), ('blue') ON CONFLICT (name) DO UPDATE SET name = 'pink'"
    )


@write
def sql_update_returning(w):
    with w.connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_post SET views = 40 WHERE title = 'one' RETURNING id")
        assert cursor.fetchall() == [(w.one.pk,)]


@write
def sql_update_from_another_table(w):
    w.execute("UPDATE testapp_post SET title = a.name FROM testapp_author a WHERE a.id = author_id")


@write
def sql_many_at_once(w):
    with w.connection.cursor() as cursor:
        sql = "UPDATE testapp_post SET title = %s WHERE id = %s"
        cursor.executemany(sql, [["eins", w.one.pk], ["zwei", w.two.pk]])


@write
def sql_update_behind_a_cte(w):
    w.execute(
        "WITH old AS (SELECT id FROM testapp_post WHERE views = 1)"
        " UPDATE testapp_post SET title = 'old' WHERE id IN (SELECT id FROM old)"
    )


@write
def sql_in_a_transaction_by_hand(w):
    w.execute("BEGIN")
    w.execute("UPDATE testapp_post SET title = 'changed' WHERE id = %s", [w.one.pk])
    w.execute("COMMIT")


@write
def sql_that_changes_a_table(w):
    w.execute("ALTER TABLE testapp_category RENAME TO testapp_away")
    w.execute("CREATE TABLE testapp_category AS SELECT id, 'renamed' AS name FROM testapp_away")
    restore(w)


def restore(w):
    """Put the table back before it is looked at, with other rows than it had."""
    w.execute("DROP TABLE testapp_category")
    w.execute("ALTER TABLE testapp_away RENAME TO testapp_category")
    w.execute("UPDATE testapp_category SET name = 'renamed'")


@sqlite_only
def sql_replace(w):
    w.execute("INSERT OR REPLACE INTO testapp_tag (id, name) VALUES (%s, 'crimson')", [w.red.pk])


@sqlite_only
def sql_script(w):
    with w.connection.cursor() as cursor:
        cursor.executescript("UPDATE testapp_post SET title = 'x'; DELETE FROM testapp_comment;")


@postgres_only
def sql_truncate(w):
    w.execute("TRUNCATE testapp_comment, testapp_profile RESTART IDENTITY")


@postgres_only
def sql_truncate_with_what_hangs_on_it(w):
    w.execute('TRUNCATE TABLE ONLY "testapp_author" CASCADE')


@postgres_only
def sql_cte_that_writes(w):
    w.execute(
        "WITH gone AS (DELETE FROM testapp_comment RETURNING post_id)"
        " SELECT * FROM gone JOIN testapp_post ON testapp_post.id = gone.post_id"
    )


@postgres_only
def sql_merge(w):
    w.execute(
        "MERGE INTO testapp_post p USING testapp_author a ON a.id = p.author_id"
        " WHEN MATCHED AND a.name = 'Ada' THEN UPDATE SET title = a.name"
        " WHEN MATCHED THEN DO NOTHING"
    )


FUNCTION = """
    CREATE OR REPLACE FUNCTION testapp_shout() RETURNS integer LANGUAGE sql AS
    $$ UPDATE testapp_post SET title = upper(title); SELECT 1 $$
"""
PROCEDURE = """
    CREATE OR REPLACE PROCEDURE testapp_proceed() LANGUAGE sql AS
    $$ UPDATE testapp_post SET title = upper(title) $$
"""


@postgres_only
def sql_select_of_a_function_that_writes(w):
    w.execute("SELECT testapp_shout()")


@postgres_only
def sql_select_of_a_quoted_function_that_writes(w):
    w.execute('SELECT "public"."testapp_shout"()')


@postgres_only
def sql_from_a_function_that_writes(w):
    w.execute("SELECT * FROM testapp_shout() AS done")


@postgres_only
def sql_call(w):
    w.execute("CALL testapp_proceed()")


@postgres_only
def sql_block(w):
    w.execute("DO $$ BEGIN UPDATE testapp_post SET title = 'done'; END $$")


@postgres_only
def callproc(w):
    with w.connection.cursor() as cursor:
        cursor.callproc("testapp_shout")


@postgres_only
def sql_behind_a_setting(w):
    w.execute("SET lock_timeout = '5s'; UPDATE testapp_post SET title = 'set'")


@postgres_only
def sql_behind_a_query(w):
    w.execute("SELECT 1; UPDATE testapp_post SET title = 'set'")


@postgres_only
def sql_prepared(w):
    w.execute("PREPARE shout AS UPDATE testapp_post SET title = upper(title)")
    w.execute("EXECUTE shout")
    w.execute("DEALLOCATE shout")


@postgres_only
def sql_explained_and_run(w):
    w.execute("EXPLAIN ANALYZE UPDATE testapp_post SET title = 'explained'")


@postgres_only
def sql_composed(w):
    from psycopg import sql

    statement = sql.SQL("UPDATE {} SET title = {}").format(
        sql.Identifier("testapp_post"), sql.Literal("composed")
    )
    w.execute(statement)


@postgres_only
def copy_into(w):
    with w.connection.cursor() as cursor, cursor.copy("COPY testapp_tag (name) FROM STDIN") as copy:
        copy.write_row(["copied"])


# -- transactions --------------------------------------------------------------------------------
@write
def in_a_transaction(w):
    with transaction.atomic(w.alias):
        w.all().filter(pk=w.one.pk).update(title="changed")
        new_post(w).save(using=w.alias)


@write
def in_nested_transactions(w):
    with transaction.atomic(w.alias), transaction.atomic(w.alias):
        w.all().filter(pk=w.one.pk).update(title="changed")


@write
def in_a_durable_transaction(w):
    with transaction.atomic(w.alias, durable=True):
        w.all().update(views=3)


@write
def before_a_savepoint_that_is_rolled_back(w):
    with transaction.atomic(w.alias):
        w.all().filter(pk=w.one.pk).update(title="changed")
        with suppress(ZeroDivisionError), transaction.atomic(w.alias):
            w.all().update(title="forgotten")
            raise ZeroDivisionError


@write
def by_a_commit_by_hand(w):
    with manual_commits(w.connection):
        w.all().filter(pk=w.one.pk).update(title="changed")
        w.connection.commit()


@write
def by_a_commit_by_hand_of_sql(w):
    with manual_commits(w.connection):
        w.execute("UPDATE testapp_post SET title = 'changed'")
        w.connection.commit()


@sqlite_only
def by_turning_autocommit_on(w):
    w.connection.set_autocommit(False)
    w.all().filter(pk=w.one.pk).update(title="changed")
    w.connection.set_autocommit(True)


@write
def load_a_fixture(w):
    rows = [
        {"model": "testapp.category", "pk": w.news.pk, "fields": {"name": "olds"}},
        {"model": "testapp.category", "pk": w.news.pk + 1000, "fields": {"name": "loaded"}},
    ]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.json"
        path.write_text(json.dumps(rows))
        call_command("loaddata", str(path), database=w.alias, verbosity=0)


@write
def change_the_rest(w):
    w.new(Author, name="Eve")
    w.new(Club, name="go")
    w.new(Ticket, text="another")
    w.new(Country, code="fr", name="not France")
    w.new(Profile, author=w.bob, motto="onwards")
    w.new(Note, content_type=w.note.content_type, object_id=w.book.pk, text="a note")


ALL_WRITES = {**WRITES, **POSTGRES_ONLY, **SQLITE_ONLY}


def can(alias, name):
    """Whether the database behind *alias* knows the write *name*."""
    return name not in (SQLITE_ONLY if alias == "postgres" else POSTGRES_ONLY)
