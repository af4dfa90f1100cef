"""Writes by what Django brings along for whole tables, and by the database itself."""

import django
import pytest
from django.core.management import call_command
from django.db import migrations
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ModelState, ProjectState

from django_layercache import invalidate
from tests.querysets.conftest import POSTGRES, SQLITE, use_store
from tests.querysets.test_transactions import titles
from tests.querysets.world import World, cached, elsewhere, is_hit, uncached, warm
from tests.testapp import models as testapp
from tests.testapp.models import Busy, Tag


# -- migrations ----------------------------------------------------------------------------------
def state():
    made = ProjectState()
    for model in (testapp.Author, testapp.Category, testapp.Tag, testapp.Post):
        made.add_model(ModelState.from_model(model))
    return made


def rename_posts(apps, schema_editor):
    """By a historical model, which is in no registry."""
    model = apps.get_model("testapp", "Post")
    assert model is not testapp.Post
    model.objects.using(schema_editor.connection.alias).filter(title="one").update(title="migrated")


RUNS = {
    "python": migrations.RunPython(rename_posts),
    "sql": migrations.RunSQL("UPDATE testapp_post SET title = 'migrated'; -- and more\nSELECT 1;"),
    "statements": migrations.RunSQL(
        [("UPDATE testapp_post SET title = %s WHERE title = %s", ["migrated", "one"])]
    ),
}


@pytest.mark.parametrize("atomic", (True, False))
@pytest.mark.parametrize("run", RUNS)
def test_what_a_migration_changes_is_seen(world, run, atomic):
    class Migration(migrations.Migration):
        operations = [RUNS[run]]

    Migration.atomic = atomic
    warm(titles, world)
    executor = MigrationExecutor(world.connection)
    migration = Migration("0002_rename", "testapp")
    executor.apply_migration(state(), migration)
    assert cached(titles, world)[0] == elsewhere(cached, titles, world)[0] == "migrated"
    assert is_hit(titles, world)


def test_a_migration_that_changes_a_table_is_seen(world):
    class Migration(migrations.Migration):
        operations = [
            migrations.AddField("post", "stars", django.db.models.IntegerField(default=1)),
            migrations.RunSQL("UPDATE testapp_post SET stars = 5, title = 'starred'"),
            migrations.RemoveField("post", "stars"),
        ]

    warm(titles, world)
    executor = MigrationExecutor(world.connection)
    executor.apply_migration(state(), Migration("0002_stars", "testapp"))
    assert cached(titles, world)[0] == elsewhere(cached, titles, world)[0] == "starred"


# -- all tables at once --------------------------------------------------------------------------
def test_a_flush_is_seen(world):
    """As ``TransactionTestCase`` does it after each test."""
    warm(titles, world)
    call_command("flush", interactive=False, database=world.alias, verbosity=0)
    assert cached(titles, world) == elsewhere(cached, titles, world) == []


def test_a_fixture_is_seen(world, tmp_path):
    from django.core import serializers

    path = tmp_path / "rows.json"
    path.write_text(
        serializers.serialize("json", world.all(Tag).all()).replace('"red"', '"loaded"')
    )
    names = lambda w: list(w.all(Tag).order_by("pk").values_list("name", flat=True))  # noqa: E731
    warm(names, world), warm(titles, world)
    call_command("loaddata", str(path), database=world.alias, verbosity=0)
    assert cached(names, world)[0] == "loaded"
    assert is_hit(titles, world)


# -- views ---------------------------------------------------------------------------------------
@pytest.fixture
def view(request, settings):
    use_store(request, settings, "redis")
    world = World("postgres")
    world.execute(
        "CREATE VIEW testapp_busy AS SELECT id AS author_id, views AS posts FROM testapp_post"
    )
    invalidate(testapp.Post, using="postgres")
    yield world
    world.execute("DROP VIEW testapp_busy")


def views(w):
    return list(w.all().order_by("pk").values_list("views", flat=True))


@POSTGRES.marks[0]
@pytest.mark.parametrize(
    "write",
    (
        lambda w: w.all(Busy).filter(pk=w.one.pk).update(posts=99),
        lambda w: w.execute("UPDATE testapp_busy SET posts = 99 WHERE author_id = %s", [w.one.pk]),
    ),
    ids=("orm", "sql"),
)
def test_what_is_written_through_a_view_is_seen(view, write):
    warm(views, view)
    write(view)
    assert cached(views, view)[0] == uncached(views, view)[0] == 99


@POSTGRES.marks[0]
def test_a_model_that_the_settings_name_is_no_view(view, settings):
    settings.LAYERCACHE = {**settings.LAYERCACHE, "MODELS": {"testapp.busy": {"cached": False}}}
    warm(titles, view)
    view.all(Busy).filter(pk=view.one.pk).update(posts=99)
    assert is_hit(titles, view)


# -- the database itself -------------------------------------------------------------------------
if django.VERSION >= (6, 1):

    @pytest.mark.parametrize("alias", (SQLITE, POSTGRES), indirect=True)
    @pytest.mark.parametrize(
        "delete",
        (
            lambda w: w.all(testapp.Shelf).filter(name="second").delete(),
            lambda w: w.execute("DELETE FROM testapp_shelf WHERE name = 'second'"),
        ),
        ids=("orm", "sql"),
    )
    def test_what_the_database_sets_to_a_default_further_down_is_seen(world, delete):
        w = world
        w.new(testapp.Volume, pk=1, name="default")
        shelf = w.new(testapp.Shelf, name="second")
        volume = w.new(testapp.Volume, pk=2, shelf=shelf, name="second")
        leaflet = w.new(testapp.Leaflet, volume=volume)
        read = lambda w: w.all(testapp.Leaflet).filter(pk=leaflet.pk).values_list("volume")[0]  # noqa: E731
        warm(read, w)
        delete(w)
        assert cached(read, w) == uncached(read, w) == [1]
