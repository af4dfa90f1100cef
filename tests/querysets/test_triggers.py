"""Tables with triggers: what these change besides is fresh, and what they do not change survives."""

from contextlib import contextmanager, nullcontext

import pytest
from django.db import connections, transaction

from django_layercache.querysets import triggered
from django_layercache.querysets.catalogues import look_up
from django_layercache.querysets.triggerbodies import Body, body_of
from tests.querysets.conftest import POSTGRES, STORES
from tests.querysets.test_transactions import rename
from tests.querysets.world import World, cached, elsewhere, is_hit, uncached, warm
from tests.testapp.models import Author, Category, Comment, Post

SHOUT = "UPDATE testapp_author SET name = 'loud' WHERE id = NEW.author_id"
DYNAMIC = "EXECUTE 'UPDATE testapp_author SET name = ''loud'''"


def by_key(model, name):
    """A read of one row, by its primary key."""

    def read(w):
        instance = getattr(w, name)
        return w.all(model).filter(pk=instance.pk).values_list()[0]

    return read


author, category, second_post = by_key(Author, "ada"), by_key(Category, "art"), by_key(Post, "two")


@contextmanager
def trigger(w, *statements, on="testapp_post", name="testapp_shout"):
    """One that runs *statements* after each UPDATE of a row of the table *on*."""
    body = "; ".join(statements)
    if w.connection.vendor == "sqlite":
        w.execute(f"CREATE TRIGGER {name} AFTER UPDATE ON {on} BEGIN {body}; END")
    else:
        w.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {body}; RETURN NULL; END $$; CREATE TRIGGER {name} AFTER UPDATE ON {on} "
            f"FOR EACH ROW WHEN (pg_trigger_depth() < 2) EXECUTE FUNCTION {name}()"
        )
    try:
        yield
    finally:
        is_sqlite = w.connection.vendor == "sqlite"
        w.execute(f"DROP TRIGGER {name}" if is_sqlite else f"DROP FUNCTION {name} CASCADE")


def rename_in_sql(w):
    w.execute("UPDATE testapp_post SET title = 'changed' WHERE id = %s", [w.one.pk])


def assert_fresh(read, w):
    assert elsewhere(cached, read, w) == cached(read, w) == uncached(read, w)


@pytest.mark.parametrize("knows", (True, False))
@pytest.mark.parametrize("write", (rename, rename_in_sql))
@pytest.mark.parametrize("is_atomic", (True, False))
def test_another_table_that_a_trigger_changes_is_fresh(world, knows, write, is_atomic):
    with trigger(world, SHOUT):
        warm(author, world), warm(category, world)
        if not knows:
            triggered.forget()
        with transaction.atomic(world.alias) if is_atomic else nullcontext():
            write(world)
            assert cached(author, world)[1] == "loud"
        assert_fresh(author, world)
        assert is_hit(category, world)


def test_other_rows_that_a_trigger_changes_are_fresh(world):
    with trigger(world, "UPDATE testapp_post SET views = 7 WHERE id <> NEW.id"):
        warm(second_post, world)
        rename(world)
        assert_fresh(second_post, world)


def test_rows_that_a_trigger_leaves_alone_survive(world):
    with trigger(world, "UPDATE testapp_post SET views = 7 WHERE id = NEW.id"):
        warm(second_post, world), warm(author, world)
        rename(world)
        assert is_hit(second_post, world)
        assert is_hit(author, world)


def test_a_trigger_may_set_off_another(world):
    second = trigger(
        world, "DELETE FROM testapp_category", on="testapp_author", name="testapp_again"
    )
    world.all().update(category=None)
    with trigger(world, SHOUT), second:
        warm(category, world)
        rename(world)
        with pytest.raises(IndexError):
            cached(category, world)


def test_a_table_that_is_no_models_is_nobody_elses(world):
    world.execute("CREATE TABLE testapp_log (post integer)")
    try:
        with trigger(world, "INSERT INTO testapp_log (post) VALUES (NEW.id)"):
            warm(author, world), warm(second_post, world)
            rename(world)
            assert is_hit(author, world)
            assert is_hit(second_post, world)
    finally:
        world.execute("DROP TABLE testapp_log")


# -- PostgreSQL ------------------------------------------------------------------------------------
def use(settings, request, **more):
    request.getfixturevalue("redis_server")
    settings.LAYERCACHE = {**STORES["redis"], **more}


@POSTGRES.marks[0]
def test_what_a_trigger_makes_up_at_run_time_may_change_anything(request, settings, caplog):
    use(settings, request)
    w = World("postgres")
    with trigger(w, DYNAMIC):
        warm(author, w), warm(category, w)
        rename(w)
        assert not is_hit(category, w)
        assert_fresh(author, w)
        assert caplog.text.count("'testapp_shout'") == 1


@POSTGRES.marks[0]
def test_what_its_function_is_declared_to_change_counts(request, settings):
    use(settings, request, PROCEDURES={"testapp_shout": ["testapp.author"]})
    w = World("postgres")
    with trigger(w, DYNAMIC):
        warm(author, w), warm(category, w)
        rename(w)
        assert is_hit(category, w)
        assert_fresh(author, w)


@POSTGRES.marks[0]
def test_a_trigger_may_call_a_function_that_calls_another(request, settings):
    use(settings, request)
    w = World("postgres")
    w.execute("""
        CREATE FUNCTION testapp_louder() RETURNS void LANGUAGE sql AS
        $$ UPDATE testapp_author SET name = 'louder' $$;
        CREATE FUNCTION testapp_loud(n bigint) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN PERFORM testapp_louder(); END $$;
        CREATE FUNCTION testapp_quiet() RETURNS numeric LANGUAGE sql STABLE AS $$ SELECT 1.0 $$
    """)
    try:
        with trigger(w, "PERFORM testapp_loud(NEW.id), testapp_quiet()"):
            warm(author, w), warm(category, w)
            rename(w)
            assert cached(author, w)[1] == "louder"
            assert is_hit(category, w)
    finally:
        w.execute("DROP FUNCTION testapp_louder, testapp_loud, testapp_quiet")


@POSTGRES.marks[0]
def test_a_trigger_may_write_to_a_view(request, settings):
    use(settings, request)
    w = World("postgres")
    w.execute("CREATE VIEW testapp_authors AS SELECT * FROM testapp_author")
    try:
        with trigger(w, SHOUT.replace("testapp_author", "testapp_authors")):
            warm(author, w)
            rename(w)
            assert_fresh(author, w)
    finally:
        w.execute("DROP VIEW testapp_authors")


@POSTGRES.marks[0]
def test_a_rule_does_what_a_trigger_does(request, settings):
    use(settings, request)
    w = World("postgres")
    w.execute(f"CREATE RULE testapp_shout AS ON UPDATE TO testapp_post DO ALSO {SHOUT}")
    try:
        warm(author, w), warm(category, w)
        rename(w)
        assert_fresh(author, w)
        assert is_hit(category, w)
    finally:
        w.execute("DROP RULE testapp_shout ON testapp_post")


# -- cascades that no model tells of ---------------------------------------------------------------
@pytest.fixture
def cascading(request, settings):
    """A blog in which comments go with their posts, and posts with their authors."""
    use(settings, request)
    w = World("postgres")
    w.execute("""
        ALTER TABLE testapp_comment ADD CONSTRAINT testapp_gone
        FOREIGN KEY (post_id) REFERENCES testapp_post ON DELETE CASCADE;
        ALTER TABLE testapp_post ADD CONSTRAINT testapp_gone
        FOREIGN KEY (author_id) REFERENCES testapp_author ON DELETE SET NULL
    """)
    yield w
    for table in ("comment", "post"):
        w.execute(f"ALTER TABLE testapp_{table} DROP CONSTRAINT testapp_gone")


def comments(w):
    return list(w.all(Comment).filter(pk=w.comment.pk).values_list("text"))


@POSTGRES.marks[0]
@pytest.mark.parametrize("how", ("orm", "sql"))
def test_what_goes_by_a_cascade_is_gone(cascading, how):
    w = cascading
    w.one.tags.clear()
    warm(comments, w), warm(author, w)
    found = w.all().filter(pk=w.one.pk)
    if how == "orm":
        found._raw_delete(w.alias)  # as Django does it where on_delete is DO_NOTHING
    else:
        w.execute("DELETE FROM testapp_post WHERE id = %s", [w.one.pk])
    assert cached(comments, w) == uncached(comments, w) == []
    assert is_hit(author, w)


@POSTGRES.marks[0]
def test_what_does_not_go_cascades_to_nothing(cascading):
    w = cascading
    warm(comments, w)
    rename(w)
    w.new(Post, author=w.ada, title="new")
    assert is_hit(comments, w)


@pytest.mark.django_db
def test_sqlites_cascades_are_known_too():
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE testapp_part (post REFERENCES testapp_post ON DELETE CASCADE)")
        try:
            found = look_up(connections["default"]).cascades
        finally:
            cursor.execute("DROP TABLE testapp_part")
    assert found["testapp_post"] >= {"testapp_part"}


# -- texts -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("language", "text", "writes", "deletes"),
    (
        ("sqlite", """CREATE TRIGGER x AFTER UPDATE OF a ON post WHEN NEW.a <> 'DELETE FROM q' BEGIN
            INSERT OR REPLACE INTO "Log"(a, b) VALUES (lower(NEW.a), 'UPDATE z'); -- UPDATE y
            UPDATE OR IGNORE total SET n = (SELECT count(*) FROM post); DELETE FROM [old]; END""",
         {"log", "total", "old"}, {"old"}),
        ("plpgsql", """BEGIN IF TG_OP = 'UPDATE' THEN UPDATE ONLY public.author AS a SET n = 1 WHERE a.id = NEW.id;
            ELSIF updated_at > 1 THEN DELETE FROM "Old" o USING x WHERE o.id = OLD.id; END IF; END""",
         {"author", "old"}, {"old"}),
        ("plpgsql", """BEGIN SELECT * INTO r FROM z WHERE id = 1 FOR NO KEY UPDATE; NEW."execute" := 1;
            INSERT INTO s (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 5 RETURNING a INTO q; END""",
         {"s"}, set()),
        ("plpgsql", """BEGIN MERGE INTO m USING n ON m.id = n.id WHEN MATCHED THEN UPDATE SET a = 1
            WHEN NOT MATCHED THEN INSERT (a) VALUES (2); REFRESH MATERIALIZED VIEW totals; END""",
         {"m", "totals"}, set()),
        ("sql", "WITH gone AS (DELETE FROM a RETURNING *) SELECT count(*) FROM gone", {"a"}, {"a"}),
        ("rule", "CREATE RULE r AS ON UPDATE TO post DO  INSERT INTO log (a) VALUES (new.id);", {"log"}, set()),
    ),
)  # fmt: skip
def test_the_tables_are_read_in_the_text(language, text, writes, deletes):
    body = body_of(text, language)
    assert (body.writes, body.deletes) == (writes, deletes)


@pytest.mark.parametrize("text", ("BEGIN EXECUTE 'x'; END", "BEGIN TRUNCATE a, b; END", "CALL f()"))
def test_a_text_that_does_not_name_its_tables_is_not_read(text):
    assert body_of(text, "plpgsql") is None


@pytest.mark.parametrize(
    ("condition", "is_own"),
    (
        ("id = NEW.id", True),
        ('post."id" = OLD.id', True),
        ("id = NEW.author_id", False),
        ("author_id = NEW.author_id", False),
        ("id = NEW.id OR 1", False),
        ("id <> NEW.id", False),
    ),
)
def test_the_row_at_hand_is_told_from_others(condition, is_own):
    text = f"BEGIN UPDATE post SET a = a + 1 WHERE {condition}; END"
    body = body_of(text, "plpgsql", frozenset({("post", "id")}))
    assert body == Body(frozenset() if is_own else frozenset({"post"}))
