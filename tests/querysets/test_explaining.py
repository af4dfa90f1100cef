"""``explain_cache()`` says what evaluating would do, and does nothing itself."""

import asyncio

import pytest
from django.db import connections, transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from django_layercache import cached, cached_queries, no_cache, trace
from django_layercache.handlers import get_engine
from tests.querysets.conftest import POSTGRES, on
from tests.querysets.oracle import FILTERS
from tests.querysets.world import START, World, elsewhere
from tests.testapp.models import Comment, Post


def posts(w):
    return w.all().filter(views__gte=2).order_by("pk").cached(timeout=60)


#: Those of :func:`posts`, whose result is small: its rows may take the place of "any row".
TAGS = ("(database)", "testapp_post#*", "testapp_post#+", "testapp_post#.views")


def test_first_a_miss_then_a_hit(world):
    before = posts(world).explain_cache()
    assert (before.outcome, before.reason) == ("miss", "nothing is stored under its key")
    list(posts(world))
    after = posts(world).explain_cache()
    assert (after.outcome, after.reason) == ("hit", "")
    assert after.key == before.key
    assert after.tags == before.tags == TAGS
    assert (after.policy, after.timeout) == (".cached()", 60)


def test_a_miss_names_what_has_changed(world):
    read = world.all().cached().filter(pk=world.one.pk)
    list(read)
    assert read.all().explain_cache().outcome == "hit"
    world.all().filter(pk=world.two.pk).update(views=7)
    assert read.all().explain_cache().outcome == "hit"
    world.all().filter(pk=world.one.pk).update(views=7)
    report = read.all().explain_cache()
    assert (report.outcome, report.reason) == ("miss", f"changed: testapp_post#pk={world.one.pk}")


def test_what_has_no_time_to_live_is_said_not_to_be_stored(local_world):
    read = local_world.all().cached(timeout=0)
    reason = "nothing is stored under its key, and may not be now: its timeout is 0"
    assert read.explain_cache().reason == reason
    with trace() as events:
        list(read)
    assert events[-1].reason == "not stored: its timeout is 0"


def test_a_trace_says_why_there_was_no_hit_and_why_nothing_was_stored(local_world, settings):
    settings.LAYERCACHE = {"MODELS": {"testapp.post": {"max_rows": 3}}}
    list(local_world.all())
    Post.objects.using(local_world.alias).create(
        author=local_world.one.author, title="one too many"
    )
    with trace() as events:
        list(local_world.all())
    assert events[-1].reason.startswith("changed: testapp_post")
    assert events[-1].reason.endswith("; not stored: 4 rows are more than max_rows")


def test_it_runs_no_query_and_leaves_no_trace(local_world):
    w = local_world
    list(w.all().cached())
    counts = dict(get_engine().counts)
    queryset = posts(w)
    sql = str(queryset.query)
    with CaptureQueriesContext(connections[w.alias]) as captured, trace() as events:
        queryset.explain_cache()
        list(w.all().only("pk"))
        assert w.all().cached().explain_cache().outcome == "hit"
    assert len(captured) == 1
    assert events == []
    assert dict(get_engine().counts) == counts
    assert queryset._result_cache is None
    assert str(queryset.query) == sql
    assert posts(w).explain_cache().outcome == "miss"


def test_what_asks_for_an_explanation_does_not_depend_on_what_is_explained(local_world):
    w = local_world
    list(posts(w))

    @cached
    def report():
        return str(posts(w).explain_cache())

    with trace() as events:
        report()
    assert not [tag for event in events for tag in event.tags if "testapp" in tag and "#" in tag]


@pytest.mark.parametrize("name", FILTERS)
def test_what_it_says_is_what_happens(local_world, name):
    w = local_world

    def queryset():
        return FILTERS[name](w.all().cached(), w).order_by("pk")

    def check(*outcomes):
        said = queryset().explain_cache()
        with trace() as events:
            list(queryset())
        happened = [(event.outcome, event.key) for event in events]
        assert happened == [(said.outcome, said.key)]
        assert said.outcome in outcomes
        if said.outcome == "hit":
            assert set(said.tags) == set(events[0].tags)

    check("miss")
    check("hit")
    w.new(Comment, post=w.two, text="x", created=START)
    check("hit", "miss")
    with transaction.atomic(w.alias):
        w.all().update(views=F("views") + 1)
        check("miss", "bypass")
        check("miss", "bypass")
    check("miss")
    check("hit")


@on("default")
def test_what_is_not_cached_says_why(local_store, settings):
    w = World("default")
    author = Exists(w.all(Comment).filter(post=OuterRef("pk"), created__lt=Now()))
    settings.LAYERCACHE = {
        "MODELS": {"testapp.comment": {"operations": ["get"]}, "testapp.tag": False}
    }
    expected = {
        "nothing says that it is cached: .cached(), cached_queries() or MODELS": w.all(),
        ".no_cache() says so": w.all().cached().no_cache(),
        "MODELS['testapp.comment'] does not name the operation 'fetch'": w.all(Comment),
        "testapp.Tag is excluded by MODELS": w.all().filter(tags__name="red").cached(),
        "Django answers it without a query: nothing can match": w.all().none().cached(),
        "it locks rows": w.all().select_for_update().cached(),
    }
    assert {reason: q.explain_cache().reason for reason, q in expected.items()} == {
        reason: reason for reason in expected
    }
    assert {q.explain_cache().outcome for q in expected.values()} == {"bypass"}
    volatile = w.all().filter(author).cached().explain_cache()
    assert (volatile.outcome, any("_comment#" in tag for tag in volatile.tags)) == (
        "bypass",
        True,
    )
    unknown = w.all().annotate(x=RawSQL("SELECT 1 FROM a_view", ())).cached().explain_cache()
    assert (unknown.outcome, unknown.tags, unknown.key) == ("bypass", (), "")
    assert "not known" in unknown.reason


def test_inside_a_transaction_it_says_what_that_has_changed(world):
    list(posts(world))
    with transaction.atomic(world.alias):
        world.all().filter(pk=world.one.pk).update(views=F("views") + 1)
        report = posts(world).explain_cache()
        assert report.outcome == "bypass"
        assert report.reason.startswith("changed in this transaction: testapp_post#")
        other = world.all().order_by("-pk").cached().explain_cache()
        assert other.outcome == "miss"
        assert "may not be now: changed in this transaction" in other.reason
    assert posts(world).explain_cache().reason.startswith("changed: testapp_post#")


def test_somebody_elses_commit_on_its_way_is_a_bypass(world):
    list(posts(world))
    write = elsewhere(lambda: get_engine().new_write())
    tag = next(t for t in get_engine().peek(_recipe(world)).tags if t.endswith("#*"))
    write.touch([tag])
    write.mark()
    try:
        report = posts(world).explain_cache()
        assert (report.outcome, report.reason) == ("bypass", "pending: testapp_post#*")
    finally:
        write.release()


def _recipe(w):
    from django.db.models.sql.constants import MULTI

    from django_layercache.querysets.plans import plan_of
    from django_layercache.querysets.policies import own_policy
    from django_layercache.querysets.reads import recipe_of

    query = posts(w).query
    compiler = query.get_compiler(w.alias)
    return recipe_of(plan_of(compiler, *compiler.as_sql()), own_policy(query), MULTI)


def test_what_cannot_be_decoded_is_a_miss_and_says_so(local_world):
    list(posts(local_world))
    engine, recipe = get_engine(), _recipe(local_world)
    entry = engine.store.read(recipe.key, ()).entry
    engine.store.write(recipe.key, type(entry)(entry.tokens, b"R1 and no rows"), None)
    report = posts(local_world).explain_cache()
    assert report.outcome == "miss"
    assert report.reason.startswith("undecodable")


@on("default")
def test_switches_are_named(local_store, settings):
    w = World("default")
    with no_cache():
        assert posts(w).explain_cache().reason == "inside no_cache()"
    with cached_queries(timeout=5):
        assert w.all().explain_cache().policy == "cached_queries()"
    settings.LAYERCACHE = {"ENABLED": False}
    assert posts(w).explain_cache().reason.startswith("ENABLED is False")
    settings.LAYERCACHE = {"MODELS": {"testapp.*": {"timeout": None}}}
    report = w.all().explain_cache()
    assert (report.policy, report.timeout) == ("MODELS['testapp.*']", None)
    assert "no expiry" in str(report)


@pytest.mark.parametrize("alias", [POSTGRES], indirect=True)
def test_a_broken_transaction_is_named(alias, world):
    transaction.set_autocommit(False, alias)
    try:
        world.connection.needs_rollback = True
        assert "broken" in posts(world).explain_cache().reason
    finally:
        transaction.rollback(alias)
        transaction.set_autocommit(True, alias)


def test_the_report_reads_like_one(local_world):
    lines = str(posts(local_world).explain_cache()).splitlines()
    assert lines[0] == "miss: nothing is stored under its key"
    assert lines[1:3] == ["policy   .cached(), 60 seconds", f"tags     {', '.join(TAGS)}"]
    assert lines[3].startswith("key      q:")


@on("default")
def test_async_code_has_its_own(local_store):
    w = World("default")
    report = asyncio.run(posts(w).aexplain_cache())
    assert report.outcome == "miss"


@on("default")
def test_managers_explain_too(local_store):
    w = World("default")
    with cached_queries():
        assert (
            w.ada.posts.explain_cache().tags
            == Post.objects.filter(author=w.ada).explain_cache().tags
        )
