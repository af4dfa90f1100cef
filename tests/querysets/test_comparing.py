"""An UPDATE of known rows looks at them first, and changes the tags of what becomes different."""

import json
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from time import sleep
from uuid import UUID

import pytest
from django.db import IntegrityError, OperationalError, models, transaction
from django.db.models import F

from django_layercache.querysets.comparing import _is_same
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
from tests.testapp.models import Author, Book, Comment, Post


@pytest.fixture
def world(world):
    """:func:`world`, which knows by now that its tables have no triggers."""
    world.all().filter(pk=0).update(views=0)
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
        (models.DateField(), date(2024, 1, 31), date(2024, 1, 31), True),
        (models.DateField(), date(2024, 1, 31), date(2024, 2, 1), False),
        (models.TimeField(), time(1), time(1), True),
        (models.DurationField(), timedelta(1), timedelta(1), False),
        (models.UUIDField(), UUID_1, str(UUID_1), True),
        (models.JSONField(), {"a": 1}, {"a": 1}, True),
        (models.JSONField(), {"a": 1}, {"a": 1.0}, False),
        (models.JSONField(), {"a": 1}, {"a": True}, False),
        (models.JSONField(encoder=json.JSONEncoder), {"a": 1}, {"a": 1}, False),
        (type("Theirs", (models.CharField,), {})(), "one", "one", False),
    ],
)
def test_two_values_are_the_same_to_the_last_digit_or_not(field, old, new, is_same):
    assert _is_same(field, old, new) is is_same


# -- while others write ------------------------------------------------------------------------------
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

    row = world.fresh(world.one)
    with around_statements(world.connection, "UPDATE", before=interfere):
        if is_atomic:
            with transaction.atomic(world.alias):
                row.save()
        else:
            row.save()
    assert failures


@POSTGRES.marks[0]
def test_a_row_that_appears_after_the_look_counts(redis_store):
    world = World("postgres")
    world.all().filter(pk=0).update(views=0)
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
        world.all().filter(pk__in=[world.one.pk, new]).update(title="one")
    assert cached(both) == [{"title": "one"}, {"title": "one"}]


# -- a transaction of its own ------------------------------------------------------------------------
def test_it_is_committed_and_over(world):
    rename(world)
    assert not world.connection.in_atomic_block
    assert elsewhere(uncached, one, world) == "changed"
    elsewhere(lambda: world.all().filter(pk=world.one.pk).update(title="theirs"))
    assert uncached(one, world) == warm(one, world) == "theirs"


def test_it_is_not_released_before_it_is_committed(world):
    seen = []

    def read():
        seen.append(elsewhere(cached, titles, world)[0])

    with around_statements(world.connection, "UPDATE", before=read, after=read):
        rename(world)
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
def test_a_server_that_hangs_up_may_have_committed(request, settings):
    use_store(request, settings, "redis", LEASE=0.4)
    world = World("postgres")
    world.all().filter(pk=0).update(views=0)
    warm(titles, world)
    with world.connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    die = lambda: elsewhere(world.execute, "SELECT pg_terminate_backend(%s)", [pid])  # noqa: E731
    with (
        pytest.raises(OperationalError),
        around_statements(world.connection, "UPDATE", after=die),
    ):
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
