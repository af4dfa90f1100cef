"""Transactions that are rarer than a block of ``atomic()``: per request, and SQLite's own kind."""

from contextlib import nullcontext, suppress

import psycopg
import pytest
from django.core.handlers.base import BaseHandler
from django.db import OperationalError, connections, transaction
from django.http import HttpResponse
from django.test import RequestFactory

from django_layercache import cached_queries, trace
from tests.querysets.conftest import POSTGRES, SQLITE
from tests.querysets.test_transactions import Undo, rename, titles
from tests.querysets.world import World, cached, elsewhere, is_hit, uncached, warm
from tests.testapp.models import Post


@pytest.fixture
def sqlite(local_store):
    return World("default")


# -- savepoints ------------------------------------------------------------------------------------
def test_hooks_of_nested_blocks_run_after_the_release_and_in_their_order(world):
    seen = []

    def look(name):
        return lambda: seen.append((name, cached(titles, world)[0]))

    warm(titles, world)
    with transaction.atomic(world.alias):
        transaction.on_commit(look("outer"), using=world.alias)
        with transaction.atomic(world.alias):
            rename(world)
            transaction.on_commit(look("inner"), using=world.alias)
        with suppress(Undo), transaction.atomic(world.alias):
            rename(world, "undone")
            transaction.on_commit(look("undone"), using=world.alias)
            raise Undo
        assert cached(titles, world)[0] == "changed"
        transaction.on_commit(look("last"), using=world.alias)
    assert seen == [("outer", "changed"), ("inner", "changed"), ("last", "changed")]


def test_a_hook_that_writes_is_a_transaction_of_its_own(world):
    warm(titles, world)
    with transaction.atomic(world.alias):
        transaction.on_commit(lambda: rename(world, "by the hook"), using=world.alias)
        rename(world)
    assert elsewhere(cached, titles, world)[0] == cached(titles, world)[0] == "by the hook"


def test_a_block_without_a_savepoint_is_a_part_of_the_one_around_it(world):
    warm(titles, world)
    with suppress(Undo), transaction.atomic(world.alias):
        with transaction.atomic(world.alias, savepoint=False):
            rename(world)
        assert cached(titles, world)[0] == "changed"
        raise Undo
    assert is_hit(titles, world)
    assert cached(titles, world)[0] == "one"


# -- one for each request ------------------------------------------------------------------------
def show(request, alias):
    found = Post._base_manager.using(alias).order_by("pk").values_list("title", flat=True)
    if "rename" in request.GET:
        found.filter(title="one").update(title="changed")
    with cached_queries():
        return HttpResponse(", ".join(found))


def assert_requests_get_hits(world, monkeypatch):
    monkeypatch.setitem(connections.settings[world.alias], "ATOMIC_REQUESTS", True)

    def ask(query=""):
        world.connection.close()
        view = BaseHandler().make_view_atomic(show)
        with trace() as events:
            answer = view(RequestFactory().get(f"/{query}"), world.alias)
        return answer.content.decode().split(", ")[0], [event.outcome for event in events]

    ask()  # which gives the tags their first tokens, too late for a snapshot
    ask()
    assert ask() == ("one", ["hit"])
    assert ask("?rename")[0] == "changed"
    assert ask() == ("changed", ["miss"])
    assert ask() == ("changed", ["hit"])
    world.connection.close()


def test_sites_with_atomic_requests_get_hits(world, monkeypatch):
    assert_requests_get_hits(world, monkeypatch)


@POSTGRES.marks[0]
@pytest.mark.parametrize("level", ("REPEATABLE_READ", "SERIALIZABLE"))
def test_so_do_those_whose_requests_read_snapshots(redis_store, settings, monkeypatch, level):
    hits = {"DATABASES": {"postgres": {"serializable_hits": True}}}
    settings.LAYERCACHE = {**settings.LAYERCACHE, **hits}
    world = World("postgres")
    options = {"isolation_level": psycopg.IsolationLevel[level]}
    monkeypatch.setitem(world.connection.settings_dict, "OPTIONS", options)
    assert_requests_get_hits(world, monkeypatch)


# -- SQLite's rollback journal ---------------------------------------------------------------------
@SQLITE.marks[0]
def test_sqlites_transactions_begin_to_see_at_their_first_read(sqlite):
    warm(titles, sqlite)
    with transaction.atomic("default"):
        elsewhere(rename, sqlite)
        elsewhere(warm, titles, sqlite)
        assert is_hit(titles, sqlite)
        assert cached(titles, sqlite)[0] == uncached(titles, sqlite)[0] == "changed"


def rename_at_once(w, how):
    w.execute("PRAGMA busy_timeout = 30")
    with how:
        rename(w)


@SQLITE.marks[0]
@pytest.mark.parametrize("how", ("in autocommit", "at COMMIT"))
def test_a_writer_who_finds_sqlite_locked_changes_nothing(sqlite, how):
    warm(titles, sqlite)
    block = transaction.atomic("default") if how == "at COMMIT" else nullcontext()
    with transaction.atomic("default"):
        assert is_hit(titles, sqlite)  # and holds a shared lock from now on
        with pytest.raises(OperationalError, match="locked"):
            elsewhere(rename_at_once, sqlite, block)
        assert cached(titles, sqlite)[0] == "one"
    assert elsewhere(cached, titles, sqlite)[0] == cached(titles, sqlite)[0] == "one"
    rename(sqlite)
    assert elsewhere(cached, titles, sqlite)[0] == cached(titles, sqlite)[0] == "changed"
