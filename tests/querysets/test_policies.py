"""Whose word counts: the queryset's, the block's, the model's; and which results a model's policy lets in."""

import pytest
from django.db import connections
from django.db.models import Manager, Prefetch, QuerySet, Sum
from django.test.utils import CaptureQueriesContext

from django_layercache import cached_queries, depends_on, invalidate, trace
from django_layercache.exceptions import InvalidArgument
from django_layercache.handlers import get_engine
from tests.querysets.conftest import on
from tests.querysets.world import World
from tests.testapp.models import Author, Comment, Post

pytestmark = on("default")


@pytest.fixture
def w(local_store):
    return World("default")


def outcomes(read):
    """What the queryset layer made of each query of *read*, which decides itself what is cached."""
    with trace() as events:
        read()
    return [event.outcome for event in events]


def is_cached(read):
    outcomes(read)
    return set(outcomes(read)) == {"hit"}


def statements(read):
    with CaptureQueriesContext(connections["default"]) as captured:
        read()
    return len(captured)


# -- .no_cache() -----------------------------------------------------------------------------------
READS = {
    "instances": list,
    "values": lambda q: list(q.values("title")),
    "count": lambda q: q.count(),
    "count of a slice": lambda q: q.order_by("pk")[:2].count(),
    "exists": lambda q: q.exists(),
    "aggregate": lambda q: q.aggregate(Sum("views")),
    "aggregate of distinct rows": lambda q: q.distinct().aggregate(Sum("views")),
    "get": lambda q: q.get(title="one"),
    "first": lambda q: q.first(),
    "filtered": lambda q: list(q.filter(views__gt=1).exclude(title="x").order_by("title")),
    "bulk": lambda q: q.in_bulk(),
    "dates": lambda q: list(q.dates("published", "day")),
    "union": lambda q: list(q.union(Post.objects.filter(pk=0))),
}


@pytest.mark.parametrize("name", READS)
def test_no_cache_holds_in_a_block_and_against_the_settings(w, settings, name):
    settings.LAYERCACHE = {"MODELS": {"*": {}}}
    before = dict(get_engine().counts)
    with cached_queries():
        for _ in range(2):
            assert outcomes(lambda: READS[name](Post.objects.no_cache())) == []
            assert statements(lambda: READS[name](Post.objects.no_cache())) == 1
    assert get_engine().counts == before


def test_no_cache_holds_for_what_is_prefetched(w):
    with cached_queries():
        assert outcomes(lambda: list(Post.objects.no_cache().prefetch_related("tags"))) == []
        comments = Prefetch("comments", Comment.objects.no_cache())
        assert len(outcomes(lambda: list(Post.objects.prefetch_related(comments)))) == 1


def test_the_last_word_counts(w):
    assert is_cached(lambda: list(Post.objects.no_cache().cached()))
    assert outcomes(lambda: list(Post.objects.cached().no_cache())) == []


def test_what_encloses_a_queryset_with_no_cache_depends_on_it_all_the_same(w):
    from django_layercache import cached

    @cached
    def titles():
        return list(Post.objects.no_cache().values_list("title", flat=True).order_by("pk"))

    assert titles() == titles() == ["one", "two", "three"]
    Post.objects.filter(title="one").update(title="new")
    assert titles() == ["new", "two", "three"]


# -- managers --------------------------------------------------------------------------------------
class Loud(QuerySet):
    def shouting(self):
        return self.filter(title__endswith="!")

    def no_cache(self, really=False):
        return self if really else super().no_cache()


def managers():
    for manager in (Manager.from_queryset(Loud)(), Loud.as_manager()):
        manager.model = Post
        manager.name = "objects"
        yield manager


def test_custom_managers_and_querysets_have_the_methods_and_may_have_their_own(w):
    for manager in managers():
        assert type(manager.cached()) is type(manager.shouting().no_cache()) is Loud
        assert is_cached(lambda manager=manager: list(manager.cached()))
        with cached_queries():
            assert outcomes(lambda manager=manager: list(manager.no_cache())) == []
            assert is_cached(lambda manager=manager: list(manager.no_cache(really=True)))


def test_related_managers_have_the_methods(w):
    assert is_cached(lambda: list(w.ada.posts.cached()))
    assert is_cached(lambda: list(w.one.tags.cached()))
    with cached_queries():
        assert outcomes(lambda: list(w.ada.posts.no_cache())) == []


# -- operations ------------------------------------------------------------------------------------
OPERATIONS = {
    "get": [lambda: Post.objects.get(title="one"), lambda: w_author(Post.objects.no_cache().first())],
    "fetch": [
        lambda: list(Post.objects.all()),
        lambda: Post.objects.first(),
        lambda: Post.objects.latest("published"),
        lambda: list(Post.objects.values("pk").annotate(n=Sum("views"))),
        lambda: list(Post.objects.order_by("pk")[:21]),
    ],
    "count": [lambda: Post.objects.count(), lambda: Post.objects.distinct()[:2].count()],
    "exists": [
        lambda: Post.objects.exists(),
        lambda: Post.objects.annotate(n=Sum("comments__pk")).distinct()[:2].exists(),
        lambda: Post.objects.contains(Post(pk=1)),
    ],
    "aggregate": [
        lambda: Post.objects.aggregate(a=Sum("views")),
        lambda: Post.objects.distinct().aggregate(Sum("views")),
    ],
}  # fmt: skip


def w_author(post):
    return post.author


@pytest.mark.parametrize("allowed", OPERATIONS)
def test_a_models_policy_names_the_operations_that_are_cached(w, settings, allowed):
    settings.LAYERCACHE = {"MODELS": {"*": {"operations": [allowed]}}}
    for operation, reads in OPERATIONS.items():
        for number, read in enumerate(reads):
            assert is_cached(read) == (operation == allowed), (operation, number)


def test_operations_restrict_the_model_and_not_who_asks_for_caching(w, settings):
    settings.LAYERCACHE = {"MODELS": {"testapp.post": {"operations": ["get"]}}}
    assert not is_cached(lambda: Post.objects.count())
    assert is_cached(lambda: Post.objects.cached().count())
    with cached_queries():
        assert is_cached(lambda: Post.objects.count())


# -- limits ----------------------------------------------------------------------------------------
def test_more_rows_than_the_limit_are_returned_and_not_stored(w, settings):
    settings.LAYERCACHE = {"MODELS": {"testapp.post": {"max_rows": 2}}}
    with trace() as events:
        assert len(Post.objects.all()) == 3
    assert events[0].reason == "not stored: 3 rows are more than max_rows"
    assert not is_cached(lambda: list(Post.objects.all()))
    assert is_cached(lambda: list(Post.objects.order_by("pk")[:2]))
    assert not is_cached(lambda: list(Post.objects.cached()))


def test_more_bytes_than_the_limit_are_returned_and_not_stored(w, settings):
    settings.LAYERCACHE = {"MODELS": {"testapp.author": {"max_bytes": 300}}}
    assert is_cached(lambda: list(Author.objects.all()))
    Author.objects.create(name="x" * 100)
    Author.objects.create(name="y" * 100)
    Author.objects.create(name="z" * 100)
    assert [author.name[0] for author in Author.objects.order_by("pk")] == list("ABxyz")
    assert not is_cached(lambda: list(Author.objects.all()))


# -- timeouts --------------------------------------------------------------------------------------
def test_a_timeout_that_is_left_out_is_the_models(w, settings):
    settings.LAYERCACHE = {
        "TIMEOUT": 300,
        "MODELS": {"testapp.post": {"timeout": 0, "cached": False}},
    }
    assert not is_cached(lambda: list(Post.objects.cached()))
    assert is_cached(lambda: list(Post.objects.cached(timeout=60)))
    assert is_cached(lambda: list(Author.objects.cached()))
    with cached_queries():
        assert not is_cached(lambda: Post.objects.count())
    with cached_queries(timeout=60):
        assert is_cached(lambda: Post.objects.count())


# -- what makes no sense -----------------------------------------------------------------------------
def test_a_wrong_timeout_is_an_error_where_it_stands():
    with pytest.raises(InvalidArgument, match="not '60'"):

        @cached_queries(timeout="60")
        def never_called(): ...


@pytest.mark.parametrize("by_hand", [depends_on, invalidate])
def test_a_queryset_is_nothing_to_depend_on_and_is_not_evaluated_to_say_so(w, by_hand):
    def ask():
        with pytest.raises(InvalidArgument, match="name its model"):
            by_hand(Post.objects.all())

    assert statements(ask) == 0
