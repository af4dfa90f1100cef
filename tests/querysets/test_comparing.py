"""An UPDATE of known rows looks at them first, and changes the tags of what becomes different."""

import json
from contextlib import nullcontext, suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from threading import Thread
from time import sleep
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, OperationalError, connections, models, transaction
from django.db.models import F, Value
from django.db.models.sql import UpdateQuery

from django_layercache.querysets import comparing, transactions
from django_layercache.querysets.comparing import _UNKNOWN, _is_same, _values
from tests.querysets.conftest import POSTGRES, use_store
from tests.querysets.test_transactions import around_statements, one, rename, titles
from tests.querysets.world import (
    START,
    World,
    cached,
    elsewhere,
    is_hit,
    outcomes,
    plain,
    uncached,
    warm,
)
from tests.testapp.models import Author, Book, Comment, Post, Tag


@pytest.fixture
def world(world):
    """:func:`world`, which knows by now that its tables have no triggers."""
    world.look_for_triggers()
    return world


def views(w):
    return list(w.all().order_by("pk").values_list("pk", "views"))


def posts(w):
    return list(w.all().order_by("pk"))


def unordered(w):
    return list(w.all())


# -- what is different -------------------------------------------------------------------------------
def test_a_save_of_a_whole_row_changes_the_columns_that_differ(world):
    warm(titles, world)
    warm(views, world)
    world.one.views = 77
    world.one.save()
    assert is_hit(titles, world)
    assert not is_hit(views, world)


def test_a_save_of_what_was_there_changes_nothing(world):
    warm(posts, world)
    warm(titles, world)
    world.fresh(world.one).save()
    assert is_hit(posts, world)
    assert is_hit(titles, world)


def test_what_nobody_orders_is_asked_again_where_the_database_moves_rows(world):
    warm(unordered, world)
    world.fresh(world.one).save()
    assert cached(unordered, world) == uncached(unordered, world)


def test_what_somebody_else_has_changed_meanwhile_is_different(world):
    stale = world.fresh(world.one)
    elsewhere(lambda: world.all().filter(pk=world.one.pk).update(title="theirs"))
    assert warm(titles, world)[0] == "theirs"
    stale.save()
    assert warm(titles, world)[0] == "one"


def test_a_row_leaves_its_old_partition_and_enters_the_new_one(world):
    of_ada = lambda: plain(list(world.ada.posts.order_by("pk")))  # noqa: E731
    of_bob = lambda: plain(list(world.bob.posts.order_by("pk")))  # noqa: E731
    others = lambda: plain(list(world.eve.posts.order_by("pk")))  # noqa: E731
    world.eve = world.new(Author, name="Eve")
    for read in (of_ada, of_bob, others):
        warm(read)
    world.one.author = world.bob
    world.one.save()
    assert is_hit(others)
    assert [len(cached(of_ada)), len(cached(of_bob))] == [1, 2]


def test_a_change_in_another_partition_leaves_the_readers_of_a_column(world):
    texts = lambda: list(world.one.comments.order_by("pk").values_list("text", flat=True))  # noqa: E731
    warm(texts)
    other = world.all(Comment).get(post=world.three)
    other.text = "changed"
    other.save()
    assert is_hit(texts)
    world.comment.text = "changed"
    world.comment.save()
    assert cached(texts) == ["changed"]


def test_what_is_written_in_bulk_leaves_other_partitions(world):
    views_of = lambda who: lambda: list(who.posts.order_by("pk").values_list("views", flat=True))  # noqa: E731
    of_ada, of_bob = views_of(world.ada), views_of(world.bob)
    warm(of_ada), warm(of_bob)
    world.three.views = 33
    world.all().bulk_update([world.three], ["views"])
    assert is_hit(of_ada)
    assert cached(of_bob) == [33]


def test_columns_to_which_the_database_gives_a_value_are_different(world):
    warm(views, world)
    world.one.views = F("views") + 1
    world.one.save()
    assert cached(views, world)[0] == [world.one.pk, 2]


def test_a_parents_columns_are_its_own(world):
    pages = lambda: list(world.all(Book).order_by("pk").values_list("pages", flat=True))  # noqa: E731
    names = lambda: list(world.all(Book).order_by("pk").values_list("title", flat=True))  # noqa: E731
    warm(pages)
    warm(names)
    world.book.title = "another"
    world.book.save()
    assert is_hit(pages)
    assert cached(names) == ["another"]


def test_a_model_may_be_exempt(world, settings):
    settings.LAYERCACHE = {**settings.LAYERCACHE, "MODELS": {"testapp.post": {"compare": False}}}
    warm(titles, world)
    world.fresh(world.one).save()
    assert not is_hit(titles, world)


def test_nobody_sees_the_look(world, django_assert_num_queries):
    row = world.fresh(world.one)
    with django_assert_num_queries(1, using=world.alias):
        row.save()


class Text(models.TextChoices):
    ONE = "one"


AWARE = datetime(2024, 1, 31, tzinfo=UTC)
NAIVE = AWARE.replace(tzinfo=None)
ELSEWHERE = AWARE.astimezone(timezone(timedelta(hours=3)))
TWICE = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Paris"))
UUID_1 = UUID(int=1)


@pytest.mark.parametrize(
    ("field", "old", "new", "is_same"),
    [
        (models.IntegerField(), 1, 1, True),
        (models.IntegerField(), 1, "1", True),
        (models.IntegerField(), 1, 2, False),
        (models.IntegerField(), 1, None, False),
        (models.IntegerField(), None, None, True),
        (models.IntegerField(), 1, "no number", False),
        (models.BooleanField(), True, True, True),
        (models.BooleanField(), True, 1, True),
        (models.FloatField(), 0.5, 0.5, True),
        (models.FloatField(), 0.0, -0.0, False),
        (models.DecimalField(), Decimal("1.5"), Decimal("1.5"), True),
        (models.DecimalField(), Decimal("1.5"), Decimal("1.50"), False),
        (models.CharField(), "one", "one", True),
        (models.CharField(), "one", Text.ONE, True),
        (models.CharField(), "one", "One", False),
        (models.DateTimeField(), AWARE, AWARE, True),
        (models.DateTimeField(), AWARE, ELSEWHERE, True),
        (models.DateTimeField(), AWARE, NAIVE, False),
        (models.DateTimeField(), TWICE, TWICE.replace(fold=1), False),
        (models.DateField(), date(2024, 1, 31), date(2024, 1, 31), True),
        (models.DateField(), date(2024, 1, 31), date(2024, 2, 1), False),
        (models.TimeField(), time(1), time(1), True),
        (models.DurationField(), timedelta(1), timedelta(1), False),
        (models.UUIDField(), UUID_1, str(UUID_1), True),
        (models.JSONField(), '{"a": 1}', {"a": 1}, True),
        (models.JSONField(), '{"a": 1}', {"a": 1.0}, False),
        (models.JSONField(), '{"a": 1}', {"a": True}, False),
        (models.JSONField(), '{"a": 1.5}', {"a": 1.5}, True),
        (models.JSONField(), '{"a": 1.50}', {"a": 1.5}, False),
        (models.JSONField(), "null", None, False),
        (models.JSONField(encoder=json.JSONEncoder), '{"a": 1}', {"a": 1}, False),
    ],
)
def test_two_values_are_the_same_to_the_last_digit_or_not(field, old, new, is_same):
    assert _is_same(field, old, new, connections["postgres"]) is is_same


@pytest.mark.parametrize(
    ("field", "old", "new", "is_same"),
    [
        (models.IntegerField(), 1, "1", True),
        (models.IntegerField(), 1.0, 1, False),
        (models.BooleanField(), 1, True, True),
        (models.FloatField(), 0.0, -0.0, False),
        (models.DecimalField(decimal_places=2), 1.5, Decimal("1.50"), True),
        (models.DecimalField(decimal_places=2), 1.501, Decimal("1.50"), False),
        (models.CharField(), "one", Text.ONE, True),
        (models.BinaryField(), b"one", b"one", True),
        (models.DateTimeField(), "2024-01-31 00:00:00", ELSEWHERE, True),
        (models.DateTimeField(), "2024-01-31", AWARE, False),
        (models.DateField(), "2024-01-31 12:00:00", None, False),
        (models.TimeField(), "01:00:00", time(1), True),
        (models.DurationField(), 1_000_000, timedelta(seconds=1), True),
        (models.UUIDField(), UUID_1.hex, UUID_1, True),
        (models.UUIDField(), str(UUID_1), UUID_1, False),
        (models.JSONField(), '{"a":1}', {"a": 1}, False),
        (models.JSONField(), "null", None, False),
    ],
)
def test_what_sqlite_has_may_be_read_alike_and_be_another(field, old, new, is_same):
    assert _is_same(field, old, new, connections["default"]) is is_same


def test_nobody_is_warned_twice(world, recwarn):
    world.all().filter(pk=world.one.pk).update(published=NAIVE)
    assert len([one for one in recwarn if "naive" in str(one.message)]) == 1


class Theirs(models.CharField):
    """A field that does not expect to be asked."""

    def get_db_prep_save(self, value, connection):
        raise AssertionError(value)

    from_db_value = None


def test_a_field_of_somebodys_own_is_not_asked(world):
    query = UpdateQuery(Post)
    query.values = [(Theirs(), None, "one")]
    assert [known for _, known in _values(query)] == [_UNKNOWN]


def test_one_that_sets_nothing_else_is_no_exception(world, monkeypatch):
    monkeypatch.setattr(comparing, "_is_djangos", lambda field: False)
    names = lambda: list(world.all(Author).order_by("pk").values_list("name", flat=True))  # noqa: E731
    warm(names)
    world.all(Author).filter(pk=world.ada.pk).update(name="changed")
    assert cached(names)[0] == "changed"


# -- while others write ------------------------------------------------------------------------------
class Meanwhile(Value):
    """A value that is compiled between the look and the UPDATE, and does something there."""

    def __init__(self, value, do):
        super().__init__(value)
        self.do = do

    def as_sql(self, compiler, connection):
        self.do()
        return super().as_sql(compiler, connection)


@pytest.fixture
def before_commit(monkeypatch):
    """Let something be done right before the COMMIT of a statement in autocommit; after its marks."""

    def let(do):
        def say(connection, statement):
            if statement == "COMMIT":
                do()
            original(connection, statement)

        monkeypatch.setattr(transactions, "_say", say)

    original = transactions._say
    return let


def impatient(w):
    """Change what nobody else may."""
    with transaction.atomic(w.alias):
        if w.alias == "postgres":
            w.execute("SET LOCAL lock_timeout = '200ms'")
        else:
            w.execute("PRAGMA busy_timeout = 0")
        w.execute("UPDATE testapp_post SET title = 'theirs' WHERE id = %s", [w.one.pk])


@pytest.mark.parametrize("is_atomic", (False, True))
def test_nobody_changes_a_row_between_the_look_and_the_update(world, is_atomic):
    failures = []

    def interfere():
        try:
            elsewhere(impatient, world)
        except OperationalError as error:
            failures.append(error)

    row = world.all().filter(pk=world.one.pk)
    with transaction.atomic(world.alias) if is_atomic else nullcontext():
        row.update(title="one", views=Meanwhile(1, interfere))
    assert len(failures) == 1


@POSTGRES.marks[0]
@pytest.mark.parametrize("conditions", ({}, {"title": "new"}))
def test_a_row_that_appears_after_the_look_counts(redis_store, conditions):
    world = World("postgres")
    world.look_for_triggers()
    new = 10**6

    def both():
        return list(world.all().filter(pk__in=[world.one.pk, new]).order_by("pk").values("title"))

    def appear_and_be_read():
        world.new(Post, pk=new, author=world.ada, title="new", published=START)
        warm(both)

    with (
        transaction.atomic(world.alias),
        around_statements(world.connection, "UPDATE", before=lambda: elsewhere(appear_and_be_read)),
    ):
        world.all().filter(pk__in=[world.one.pk, new], **conditions).update(title="one")
    assert cached(both) == [{"title": "one"}, {"title": "one"}]


def backend(w):
    """The process that serves the connection of *w*."""
    with w.connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def terminate(w, pid):
    w.execute("SELECT pg_terminate_backend(%s)", [pid])


@pytest.fixture
def leased(request, settings):
    """:func:`world` on PostgreSQL and Redis, with titles in the cache, and leases that a test can wait for."""
    use_store(request, settings, "redis", LEASE=0.4)
    world = World("postgres")
    world.look_for_triggers()
    warm(titles, world)
    return world


# -- a transaction of its own ------------------------------------------------------------------------
def test_it_is_committed_and_over(world):
    rename(world)
    assert not world.connection.in_atomic_block
    assert elsewhere(uncached, one, world) == "changed"
    elsewhere(lambda: world.all().filter(pk=world.one.pk).update(title="theirs"))
    assert uncached(one, world) == warm(one, world) == "theirs"


def test_it_is_not_released_before_it_is_committed(world, before_commit):
    seen = []

    def read():
        seen.append(elsewhere(cached, titles, world)[0])

    before_commit(read)
    world.all().filter(pk=world.one.pk).update(title="changed", views=Meanwhile(1, read))
    assert seen == ["one", "one"]
    assert warm(titles, world)[0] == "changed"


def test_one_that_fails_leaves_nothing_behind(world):
    warm(titles, world)
    tag = world.fresh(world.red)
    tag.name = "green"  # which is unique
    with pytest.raises(IntegrityError):
        tag.save()
    assert is_hit(titles, world)
    assert world.fresh(world.red).name == "red"
    rename(world)
    assert warm(titles, world)[0] == "changed"


def test_one_that_fails_at_its_commit_leaves_nothing_behind(world):
    with pytest.raises(IntegrityError):
        world.all().filter(pk=world.one.pk).update(author=10**6)
    assert world.fresh(world.one).author_id == world.ada.pk
    rename(world)
    assert warm(titles, world)[0] == "changed"


@POSTGRES.marks[0]
def test_a_server_that_hangs_up_may_have_committed(leased, before_commit):
    world = leased
    hang_up = lambda: elsewhere(terminate, world, backend(world))  # noqa: E731
    before_commit(hang_up)
    with pytest.raises(OperationalError):
        rename(world)
    world.connection.close()
    assert outcomes(titles, world) == ["bypass"]
    sleep(0.5)
    assert warm(titles, world)[0] == "one"


def test_a_savepoint_that_is_rolled_back_has_changed_nothing(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        with suppress(ZeroDivisionError), transaction.atomic(world.alias):
            rename(world)
            raise ZeroDivisionError
        assert is_hit(titles, world)
    assert is_hit(titles, world)


def test_a_transaction_sees_what_it_has_not_changed(world):
    warm(titles, world)
    warm(views, world)
    with transaction.atomic(world.alias):
        world.one.views = 7
        world.one.save()
        assert is_hit(titles, world)
        assert outcomes(views, world) == ["bypass"]


def test_what_is_read_while_it_runs_is_its_own(world):
    seen = []

    def read():
        seen.append((outcomes(titles, world), cached(titles, world)[0]))

    warm(titles, world)
    with suppress(ZeroDivisionError), transaction.atomic(world.alias):
        with around_statements(world.connection, "UPDATE", after=read):
            rename(world)
        raise ZeroDivisionError
    assert seen == [(["bypass"], "changed")]
    assert cached(titles, world)[0] == "one"
    assert is_hit(titles, world)


# -- what Django alone would do ----------------------------------------------------------------------
@POSTGRES.marks[0]
def test_what_is_read_after_the_look_belongs_to_an_older_snapshot(redis_store):
    world = World("postgres")
    world.look_for_triggers()
    names = lambda: list(world.all(Author).order_by("pk").values_list("name", flat=True))  # noqa: E731

    def rename_somebody():
        world.all(Author).filter(pk=world.ada.pk).update(name="changed")

    warm(names)
    with transaction.atomic(world.alias):
        world.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        world.all().filter(pk=world.one.pk).update(
            views=Meanwhile(1, lambda: elsewhere(rename_somebody)), title="one"
        )
        assert cached(names)[0] == "Ada"
    assert cached(names)[0] == "changed"


@POSTGRES.marks[0]
def test_rows_that_an_update_leaves_alone_may_be_locked(redis_store):
    world = World("postgres")
    world.look_for_triggers()

    def claim():
        with transaction.atomic(world.alias):
            world.execute("SET LOCAL lock_timeout = '200ms'")
            return world.all().filter(pk=world.one.pk, title="another").update(views=2)

    with transaction.atomic(world.alias):
        world.all().select_for_update().get(pk=world.one.pk)
        assert elsewhere(claim) == 0


@POSTGRES.marks[0]
def test_two_transactions_that_may_both_go_on_do(redis_store):
    world = World("postgres")
    world.look_for_triggers()
    errors = []

    def rename_it():
        try:
            world.all(Tag).filter(pk=world.red.pk).update(name="crimson")
        except OperationalError as error:
            errors.append(error)
        finally:
            connections.close_all()

    writer = Thread(target=rename_it)
    with transaction.atomic(world.alias):
        # As a foreign key does that is not checked at COMMIT only.
        world.execute("SELECT 1 FROM testapp_tag WHERE id = %s FOR KEY SHARE", [world.red.pk])
        writer.start()
        wait_for_a_waiting(world)
        world.all(Tag).filter(pk=world.red.pk).update(name="red")
    writer.join(10)
    assert not errors
    assert world.fresh(world.red).name == "crimson"


def wait_for_a_waiting(w):
    """Wait until another connection waits for a lock."""
    for _ in range(500):
        with w.connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        sleep(0.01)
    raise AssertionError("nobody waits")


def test_a_number_that_no_column_has_is_nobodys(world):
    assert world.all().filter(pk=2**70).update(views=1) == 0
    assert not world.connection.in_atomic_block


def test_a_wrapper_may_write_for_itself(world):
    seen = []

    def audit(execute, sql, params, many, context):
        if sql.startswith("UPDATE"):
            world.all(Author).bulk_create([Author(name="Eve")])  # in a transaction of Django's
            seen.append(sql)
        return execute(sql, params, many, context)

    tag = world.fresh(world.red)
    tag.name = "green"
    with world.connection.execute_wrapper(audit), pytest.raises(IntegrityError):
        tag.save()
    assert world.all(Author).filter(name="Eve").count() == len(seen) == 1


@POSTGRES.marks[0]
def test_a_connection_that_is_gone_is_made_anew(redis_store):
    world = World("postgres")
    world.look_for_triggers()
    connection = world.connection
    elsewhere(terminate, world, backend(world))
    connection.health_check_enabled, connection.health_check_done = True, False
    try:
        rename(world)
    finally:
        connection.health_check_enabled = False
    assert world.fresh(world.one).title == "changed"


@pytest.mark.parametrize("statement", ("BEGIN", "COMMIT"))
def test_an_interrupt_leaves_no_transaction_behind(world, monkeypatch, statement):
    original = transactions._say

    def say(connection, said):
        original(connection, said)
        if said.startswith(statement):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(transactions, "_say", say)
        with pytest.raises(KeyboardInterrupt):
            rename(world)
    assert not transactions.is_open(world.connection)
    world.all().filter(pk=world.one.pk).update(title="then")
    assert elsewhere(uncached, one, world) == "then"


class TimeIsOver(Exception):
    """As Celery's."""


@POSTGRES.marks[0]
def test_a_commit_that_nobody_waited_for_may_yet_happen(leased, monkeypatch):
    world = leased
    original = transactions._say

    def say(connection, said):
        if said != "COMMIT":
            return original(connection, said)
        connection.connection.pgconn.send_query(b"SELECT pg_sleep(0.2); COMMIT")
        raise TimeIsOver

    monkeypatch.setattr(transactions, "_say", say)
    with pytest.raises(TimeIsOver):
        rename(world)
    assert elsewhere(outcomes, titles, world) == ["bypass"]
    world.connection.close()
    sleep(0.5)
