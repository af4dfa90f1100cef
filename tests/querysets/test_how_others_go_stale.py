"""How other libraries go stale, each as a test here; the numbers are those of DESIGN's list.

The items that concern pages alone are tested with the pages.
"""

import random
import threading
import time
from contextlib import suppress
from decimal import Decimal

import django
import pytest
from django.db import OperationalError, ProgrammingError, models, transaction
from django.db.models import Avg, Case, Count, Exists, F, OuterRef, Subquery, Sum, Value, When
from django.db.models.functions import Cast, Coalesce, Now, Random, TruncDay

from django_layercache import cached_queries, invalidate
from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import get_engine
from tests.querysets.conftest import POSTGRES, on, use_store, wait_until_trusted
from tests.querysets.test_transactions import around_statements, one, rename, titles
from tests.querysets.world import (
    World,
    cached,
    elsewhere,
    is_hit,
    manual_commits,
    outcomes,
    uncached,
    warm,
)
from tests.testapp import models as testapp
from tests.testapp.models import Author, Book, Comment, Fund, Post, Work


def is_fresh(read, w):
    return cached(read, w) == uncached(read, w) and elsewhere(cached, read, w) == uncached(read, w)


@POSTGRES.marks[0]
def test_01_the_version_is_sampled_before_the_query(redis_store):
    """A version sampled after the query: a write in between is cached as fresh for ever."""
    w = World("postgres")
    with around_statements(w.connection, "SELECT", after=lambda: elsewhere(rename, w)):
        cached(titles, w)
    assert is_fresh(titles, w)


def test_02_in_autocommit_the_release_comes_after_the_statement(world):
    """Invalidated before the statement runs: who reads in between caches the old rows as fresh."""
    warm(titles, world)
    read = lambda: elsewhere(cached, titles, world)  # noqa: E731
    with around_statements(world.connection, "UPDATE", before=read):
        rename(world)
    assert is_fresh(titles, world)


def test_03_hooks_on_commit_run_after_the_release(world):
    """The task that a hook starts reads from the cache what the commit has changed."""
    warm(titles, world)
    seen = []
    with transaction.atomic(world.alias):
        task = lambda: seen.append(elsewhere(cached, titles, world)[0])  # noqa: E731
        transaction.on_commit(task, using=world.alias)
        rename(world)
    assert seen == ["changed"]


@pytest.mark.parametrize("failure", (StoreUnavailable("gone"), None), ids=("store", "process"))
def test_04_a_crash_between_commit_and_release_leaves_nothing_stale(
    alias, request, settings, monkeypatch, failure
):
    """The process dies, or the cache fails, after COMMIT and before the invalidation."""
    use_store(request, settings, "redis", LEASE=0.5)
    w = World(alias)
    warm(titles, w)

    def release(writer, tags):
        if failure:
            raise failure

    with monkeypatch.context() as broken:
        broken.setattr(get_engine().store, "release", release)
        with transaction.atomic(alias):
            rename(w)
        assert is_fresh(titles, w)
    assert is_fresh(titles, w)
    deadline = time.monotonic() + 10
    while not is_hit(titles, w) and time.monotonic() < deadline:
        assert is_fresh(titles, w)
        time.sleep(0.05)
    assert cached(titles, w)[0] == "changed"


@POSTGRES.marks[0]
def test_05_rows_of_an_old_snapshot_are_not_published_under_new_tokens(redis_store):
    """A long transaction under REPEATABLE READ stores what it sees as if it were current."""
    w = World("postgres")
    with transaction.atomic("postgres"):
        w.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        w.all(Author).count()
        elsewhere(rename, w)
        assert cached(titles, w)[0] == "one"
    assert is_fresh(titles, w)


@pytest.mark.parametrize("wrong_by", (-3600, 3600))
def test_06_a_writer_whose_clock_is_wrong_invalidates_all_the_same(world, monkeypatch, wrong_by):
    """Versions by the wall clock: the write of a host whose clock is behind is lost."""
    warm(titles, world)
    now = time.time
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: now() + wrong_by)
        clock.setattr(time, "time_ns", lambda: int((now() + wrong_by) * 1e9))
        rename(world)
    assert is_fresh(titles, world)


WRITES_WITHOUT_A_SIGNAL = {
    "update": lambda w: w.all().update(title="changed"),
    "bulk_update": lambda w: w.all().bulk_update([Post(pk=w.one.pk, title="changed")], ["title"]),
    "upsert": lambda w: w.all().bulk_create(
        [Post(pk=w.one.pk, author=w.bob, title="changed")],
        update_conflicts=True, update_fields=["title"], unique_fields=["id"],
    ),
    "sql": lambda w: w.execute("UPDATE testapp_post SET title = 'changed'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITES_WITHOUT_A_SIGNAL)
def test_07_writes_that_send_no_signal_are_seen(world, name):
    """``update()``, ``bulk_update``, upserts and raw SQL go unseen."""
    warm(titles, world), warm(one, world)
    WRITES_WITHOUT_A_SIGNAL[name](world)
    assert is_fresh(titles, world)
    assert is_fresh(one, world)


@POSTGRES.marks[0]
@pytest.mark.parametrize(
    "sql",
    (
        "TRUNCATE testapp_post CASCADE",
        "MERGE INTO testapp_post p USING testapp_author a ON a.id = p.id WHEN MATCHED THEN DELETE",
        "WITH x AS (UPDATE testapp_post SET title = 'x' RETURNING 1) SELECT * FROM x",
    ),
)
def test_07_statements_that_few_know_are_seen(redis_store, sql):
    """``TRUNCATE``, ``MERGE`` and CTEs that write are taken for reads."""
    w = World("postgres")
    warm(titles, w)
    w.execute(sql)
    assert is_fresh(titles, w)


JOINS = {
    "select_related": lambda w: [p.author.name for p in w.all().select_related("author").order_by("pk")],
    "order_by": lambda w: list(w.all().order_by("author__name").values_list("title", flat=True)),
    "inheritance": lambda w: list(w.all(Book).values_list("title", flat=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", JOINS)
def test_08_tables_that_a_query_only_joins_count(world, name):
    """``select_related``, ``order_by("fk__x")`` and the tables of parents go unnoticed."""
    warm(JOINS[name], world)
    w = world
    w.all(Author).filter(pk=w.ada.pk).update(name="Zed")
    w.all(Work).filter(pk=w.book.pk).update(title="another")
    assert is_fresh(JOINS[name], world)


def _comments():
    return Comment.objects.filter(post=OuterRef("pk"))


SUBQUERIES = {
    "filter": lambda w: list(w.all().filter(pk__in=w.all(Comment).values("post"))),
    "exclude": lambda w: list(w.all().exclude(pk__in=w.all(Comment).values("post")).order_by("pk")),
    "annotate": lambda w: list(
        w.all().order_by("pk").annotate(has=Exists(_comments())).values("pk", "has")
    ),
    "order_by": lambda w: list(w.all().order_by(Exists(_comments()).desc(), "pk")),
    "coalesce": lambda w: list(
        w.all().order_by("pk").values_list(Coalesce(Subquery(_comments().values("pk")[:1]), 0))
    ),
    "not exists": lambda w: list(w.all().filter(~Exists(_comments())).order_by("pk")),
    "case": lambda w: list(
        w.all()
        .order_by("pk")
        .annotate(has=Case(When(Exists(_comments()), then=Value(1)), default=Value(0)))
        .values_list("has")
    ),
    "union": lambda w: list(w.all().values_list("pk").union(w.all(Comment).values_list("post_id"), all=True)),
    "count": lambda w: w.all().annotate(n=Count("comments")).filter(n__gt=0).count(),
}  # fmt: skip


@pytest.mark.parametrize("name", SUBQUERIES)
def test_09_tables_of_subqueries_count_wherever_they_stand(world, name):
    """Subqueries in ``filter``, ``annotate``, ``order_by``, ``Coalesce`` and ``~Exists`` go unnoticed."""
    warm(SUBQUERIES[name], world)
    before = cached(SUBQUERIES[name], world)
    world.all(Comment).all().delete()
    assert cached(SUBQUERIES[name], world) == uncached(SUBQUERIES[name], world) != before


VOLATILE = {
    "random": lambda w: list(w.all().order_by("?")),
    "nested random": lambda w: list(w.all().annotate(x=Coalesce(Random() * 2, 1.0)).values("x")),
    "now": lambda w: list(w.all().annotate(now=Now())),
    "nested now": lambda w: list(w.all().annotate(day=TruncDay(Now()))),
    "now in a filter": lambda w: list(w.all().filter(published__lt=Now())),
    "now in a subquery": lambda w: list(
        w.all().filter(Exists(Comment.objects.filter(created__lt=Now(), post=OuterRef("pk"))))
    ),
    "'now' as a parameter": lambda w: list(
        w.all().annotate(now=Cast(Value("now"), models.DateTimeField())).values_list("now")
    ),
    "a date of 'now'": lambda w: list(
        w.all().values_list(models.Func(Value("now"), function="DATE", output_field=models.TextField()))
    ),
    "a lock": lambda w: list(w.all().select_for_update()),
}  # fmt: skip


@pytest.mark.parametrize("name", VOLATILE)
def test_10_what_gives_another_result_each_time_is_not_cached(local_world, name):
    """``Random()`` and nested ``Now()`` are cached like any other expression."""
    with transaction.atomic(local_world.alias):
        for _ in range(2):
            assert set(outcomes(VOLATILE[name], local_world)) <= {"bypass"}


def test_11_autocommit_switched_off_and_on_wedges_nothing(world):
    """``set_autocommit(False)`` leaves a stack of transactions that nobody pops."""
    with manual_commits(world.connection):
        rename(world, "lost")
        world.connection.rollback()
        rename(world, "kept")
        world.connection.commit()
    warm(titles, world)
    rename(world, "and on")
    assert cached(titles, world)[0] == "and on"
    assert is_fresh(titles, world)


def _forget(pattern):
    client = get_engine().store.client
    if keys := client.keys(pattern):
        client.delete(*keys)


@pytest.mark.parametrize("pattern", ("*:t:*", "*:register", "layercache*", "*:e:*"))
def test_12_a_version_that_was_evicted_is_never_taken_for_unchanged(alias, redis_store, pattern):
    """An evicted version key counts as "unchanged", or restarts at 0 and meets its old values again."""
    w = World(alias)
    warm(titles, w)
    rename(w, "x")
    _forget(pattern)
    assert "hit" not in outcomes(titles, w)
    assert is_fresh(titles, w)
    with transaction.atomic(alias):
        rename(w, "y")
        _forget(pattern)
        elsewhere(cached, titles, w)
    assert is_fresh(titles, w)


@POSTGRES.marks[0]
@pytest.mark.parametrize("pattern", ("*:t:*", "*:register", "layercache*"))
def test_12_marks_that_were_lost_before_the_commit_are_missed_by_nobody(
    request, settings, monkeypatch, pattern
):
    """A live mark is evicted: a reader mints, and stores the old rows between COMMIT and release."""
    use_store(request, settings, "redis", GRACE=1)
    w = World("postgres")
    commit = w.connection._commit

    def lose_marks():
        _forget(pattern)
        elsewhere(cached, titles, w)
        commit()
        assert elsewhere(cached, titles, w)[0] == "changed"

    monkeypatch.setattr(w.connection, "_commit", lose_marks)
    with transaction.atomic("postgres"):
        rename(w)
    assert cached(titles, w)[0] == "changed"


def test_13_invalidating_in_a_transaction_waits_for_its_commit(world):
    """``invalidate_all()`` runs at once: who reads before the commit caches the old rows as fresh."""
    warm(titles, world)
    with transaction.atomic(world.alias):
        rename(world)
        invalidate(Post, using=world.alias)
        elsewhere(cached, titles, world)
    assert is_fresh(titles, world)


@on("default")
def test_14_a_server_restarted_from_an_old_dump_serves_nothing_of_it(fresh_redis, settings):
    """Old pairs of entry and version come back together from an old dump, and match."""
    _use(fresh_redis, settings)
    w = World("default")
    warm(titles, w)
    get_engine().store.client.save()
    rename(w)
    warm(titles, w)
    fresh_redis.kill()
    fresh_redis.start()
    deadline = time.monotonic() + 15
    while not is_hit(titles, w) and time.monotonic() < deadline:
        assert is_fresh(titles, w)
        time.sleep(0.02)
    assert cached(titles, w)[0] == "changed"


def _use(server, settings):
    settings.CACHES = {
        **settings.CACHES,
        "own": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url},
    }
    settings.LAYERCACHE = {"CACHE": "own", "GRACE": 0.1}
    wait_until_trusted()


if django.VERSION >= (6, 1):  # where the database can be told to cascade

    class TestCascadesOfTheDatabase:
        @pytest.fixture
        def volumes(self, alias, store):
            world = World(alias)
            shelf = world.new(testapp.Shelf, name="shelf")
            whole = world.new(testapp.Volume, shelf=shelf, name="whole")
            world.part = world.new(testapp.Volume, whole=whole, name="part")
            world.sequel = world.new(testapp.Volume, before=whole, name="sequel")
            world.shelf, world.whole = shelf, whole
            return world

        @staticmethod
        def names(w):
            return list(w.all(testapp.Volume).order_by("pk").values("name", "before"))

        @staticmethod
        def part(w):
            return list(w.all(testapp.Volume).filter(pk=w.part.pk).values_list("name"))

        @staticmethod
        def sequel(w):
            return list(w.all(testapp.Volume).filter(pk=w.sequel.pk).values_list("before"))

        @pytest.mark.parametrize("read", ("names", "part", "sequel"))
        @pytest.mark.parametrize(
            "delete",
            (
                lambda w: w.all(testapp.Shelf).filter(pk=w.shelf.pk).delete(),
                lambda w: w.all(testapp.Volume).get(pk=w.whole.pk).delete(),
                lambda w: w.all(testapp.Volume).filter(name="whole").delete(),
                lambda w: w.execute("DELETE FROM testapp_shelf"),
                lambda w: w.execute("DELETE FROM testapp_volume WHERE name = 'whole'"),
            ),
            ids=("shelf", "volume", "queryset", "sql", "sql of itself"),
        )
        def test_15_rows_that_the_database_deletes_or_changes_are_missed(
            self, volumes, delete, read
        ):
            """``DB_CASCADE`` and ``DB_SET_NULL`` change rows of which Django hears nothing."""
            read = getattr(self, read)
            before = warm(read, volumes)
            delete(volumes)
            assert cached(read, volumes) == uncached(read, volumes) != before


def test_16_what_was_invalidated_while_it_was_built_is_not_kept(world):
    """Tags removed while a refresh runs: the refreshed value is stored as if nothing had happened."""
    warm(titles, world)
    rename(world, "x")
    with around_statements(world.connection, "SELECT", before=lambda: elsewhere(rename, world)):
        cached(titles, world)
    assert is_fresh(titles, world)


@POSTGRES.marks[0]
def test_16_who_waits_for_anothers_flight_gets_what_is_fresh_for_him(redis_store):
    """Those who joined a flight get its value, although it was built from before their time."""
    w = World("postgres")
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(elsewhere(cached, titles, w)[0]))

    def commit_and_ask():
        elsewhere(rename, w)
        waiter.start()
        time.sleep(0.1)

    with around_statements(w.connection, "SELECT", after=commit_and_ask):
        cached(titles, w)
    waiter.join(20)
    assert answers == ["changed"]


def test_18_frozen_time_and_a_fixed_seed_do_not_repeat_tokens(world, monkeypatch):
    """Tokens made from the process's clock stand still while a test suite freezes it."""
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: 1_000_000.0)
    for title in ("a", "b", "a", "c"):
        random.seed(1)
        rename(world, title)
        assert cached(titles, world)[0] == title
        assert elsewhere(cached, titles, world)[0] == title


def test_19_tables_of_models_that_are_not_registered_count(world):
    """Raw SQL and DDL on tables that the app registry does not know now go unseen."""

    class Historical(models.Model):
        name = models.TextField()

        class Meta:
            app_label = "nowhere"
            apps = testapp.Post._meta.apps.__class__()

    names = lambda w: list(w.all(Historical).order_by("pk").values_list("name", flat=True))  # noqa: E731
    with world.connection.schema_editor() as editor:
        editor.create_model(Historical)
    world.new(Historical, name="first")
    assert warm(names, world) == ["first"]
    world.execute("UPDATE nowhere_historical SET name = 'second'")
    assert warm(names, world) == ["second"]
    with world.connection.schema_editor() as editor:
        editor.delete_model(Historical)
    with pytest.raises((OperationalError, ProgrammingError)):
        cached(names, world)


def test_20_the_migration_recorder_is_never_cached(local_world):
    """Its model is made in a function, and every test database makes the table anew."""
    from django.db.migrations.recorder import MigrationRecorder

    recorder = MigrationRecorder(local_world.connection)
    recorder.ensure_schema()
    for _ in range(2):
        assert set(outcomes(lambda w: list(recorder.migration_qs), local_world)) <= {"bypass"}


def test_20_instances_are_of_the_class_that_was_asked_for(world):
    """Pickled instances come back as those of another class, or not at all."""

    class Local(Post):
        class Meta:
            proxy = True
            app_label = "testapp"
            apps = testapp.Post._meta.apps.__class__()

    with cached_queries():
        for _ in range(2):
            assert {type(post) for post in Post.objects.using(world.alias)} == {Post}
            assert {type(post) for post in Local._base_manager.using(world.alias)} == {Local}


def test_21_a_cache_alias_that_an_override_takes_away_breaks_no_query(local_world, settings):
    """A test overrides ``CACHES``: every query raises ``InvalidCacheBackendError``."""
    settings.LAYERCACHE = {"CACHE": "redis"}
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    rename(local_world)
    assert cached(titles, local_world)[0] == "changed"
    assert is_fresh(titles, local_world)


def test_22_aggregates_are_those_of_django_to_the_cent(world):
    """Aggregates answered by other code than Django's: 383 for 383.69."""
    world.new(Fund, name="a", amount=Decimal("383.69"))
    world.new(Fund, name="b", amount=Decimal("0.01"))

    def sums(w):
        return w.all(Fund).aggregate(Sum("amount"), Avg("amount"), n=Count("*"))

    first, second = cached(sums, world), cached(sums, world)
    assert first == second == uncached(sums, world)
    assert {name: type(value) for name, value in second.items()} == {
        "amount__sum": Decimal, "amount__avg": Decimal, "n": int,
    }  # fmt: skip
    assert second["amount__sum"] == Decimal("383.70")
    with pytest.raises(Exception, match="Cannot resolve"):
        cached(lambda w: w.all(Fund).aggregate(Sum("nothing")), world)


def test_24_custom_managers_and_unresolved_values_are_taken_as_they_come(world):
    """``Model.objects``, and plain values on ``save()``, are taken for granted."""
    fund = world.new(Fund, name="a", amount=Decimal(1))
    world.new(Fund, name="", amount=Decimal(1))
    named = lambda w: list(Fund.named.using(w.alias).values_list("amount", flat=True))  # noqa: E731
    assert warm(named, world) == [Decimal(1)]
    fund.amount = F("amount") + 5
    fund.save()
    assert warm(named, world) == [Decimal(6)]
    fund.amount = Subquery(Fund.named.using(world.alias).values("amount")[:1]) + 1
    with suppress(Exception):
        fund.save()
    assert is_fresh(named, world)
