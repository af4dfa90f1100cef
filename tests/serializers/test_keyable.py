"""Values as parts of keys: different ones are spelt differently, in every process the same."""

import subprocess
import sys
from collections import OrderedDict, defaultdict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, TextChoices
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override
from hypothesis import given
from hypothesis import strategies as st

from django_layercache.exceptions import UnkeyableArgument
from django_layercache.serializers.keyable import canonical, identity, shorten
from tests.testapp.models import Author, Post


class Colour(Enum):
    RED = 1
    BLUE = 2


class Number(IntEnum):
    ONE = 1


class Bits(IntFlag):
    A = 1
    B = 2


class Choice(TextChoices):
    ONE = "1"


Pair = namedtuple("Pair", "a b")  # noqa: PYI024
NOON = datetime(2024, 1, 1, 12)  # noqa: DTZ001

DIFFERENT = (
    None, True, False, 1, 0, -1, 2**70, 1.0, 0.0, -0.0, float("nan"), float("inf"), "1", "", "None",
    b"1", b"", Decimal(1), Decimal("1.0"), UUID(int=1), date(2024, 1, 1), NOON,
    NOON.replace(fold=1), NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=timezone(timedelta(0), "Z")),
    NOON.replace(tzinfo=ZoneInfo("Europe/London")), time(12), time(12, tzinfo=UTC), timedelta(1),
    timedelta(seconds=1), (), (1,), ((1,),), (1, 2), ("1", "2"), ("1,2",), ("12",), [], [1], {1}, set(),
    frozenset({1}), {}, {1: 2}, {"a": 1, "b": 2}, {(1, 2)}, {1, 2}, Pair(1, 2), Colour.RED, Colour.BLUE,
    Number.ONE, Bits.A, Bits.A | Bits.B, Choice.ONE, mark_safe("1"), int, str, Colour, len, print,
    "s1:1", "i1;", ("a", ("b", "c")), (("a", "b"), "c"), OrderedDict({"a": 1}), defaultdict(list, {"a": 1}),
    AnonymousUser(),
)  # fmt: skip


def test_different_values_are_spelt_differently():
    assert len({canonical(value) for value in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("one", "same"),
    (
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"b", "a", "c"}, {"c", "b", "a"}),
        (SimpleLazyObject(lambda: 5), 5),
        (Decimal("1.10"), Decimal("1.10")),
    ),
)
def test_equal_values_are_spelt_alike(one, same):
    assert canonical(one) == canonical(same)


def test_the_order_of_an_ordered_dictionary_counts():
    assert canonical(OrderedDict(a=1, b=2)) != canonical(OrderedDict(b=2, a=1))


class Tagged(str):  # noqa: SLOT000
    """A text that knows more."""


def holder():
    value = Tagged("a")
    value.more = 1
    return value


LOOP = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "said"),
    (
        (object(), "an instance of object"),
        (LOOP, "contains itself"),
        ([object()], "an instance of object"),
        ({"a": {1: object()}}, "an instance of object"),
        (holder(), "an instance of tests.serializers.test_keyable.Tagged"),
        (partial(print), "an instance of functools.partial"),
        (iter([]), "an instance of list_iterator"),
        (sys, "an instance of module"),
    ),
)
def test_what_cannot_be_said_in_full_is_refused(value, said):
    with pytest.raises(UnkeyableArgument, match=said):
        canonical(value)


def test_a_subclass_that_knows_no_more_is_accepted():
    assert canonical(Tagged("a")) != canonical("a")


def test_a_lazy_translation_counts_in_the_active_language():
    lazy = gettext_lazy("Yes")
    with override("de"):
        german = canonical(lazy)
    with override("fr"):
        assert canonical(lazy) != german


def test_functions_differ_by_what_they_closed_over():
    def make(number):
        return lambda: number

    assert canonical(make(1)) != canonical(make(2))
    assert canonical(make(1)) == canonical(make(1))


def test_functions_differ_by_their_code():
    assert canonical(lambda: 1) != canonical(lambda: 2)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def typed(value):
    """*value* with all its types, for comparing."""
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    if isinstance(value, dict):
        return dict, {key: typed(item) for key, item in value.items()}
    return type(value), repr(value)


@given(plain, plain)
def test_two_values_are_spelt_alike_only_if_they_are_alike(one, other):
    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


def test_a_long_or_unprintable_text_is_digested():
    assert shorten("s1:a") == "s1:a"
    assert len(shorten("x" * 1000)) == 33
    assert shorten("a\nb").startswith("~")
    assert shorten("\ud800") != shorten("\ud801")


def test_every_process_spells_alike():
    program = (
        "import django; from django.conf import settings; settings.configure(); django.setup()\n"
        "from django_layercache.serializers.keyable import canonical\n"
        "def f(a): return a in {'x', 'y', 'z', 'w'}, [lambda: {1.5, 'q'}]\n"
        "print(canonical(({'a', 'b', 'c'}, {'k': 1, 'l': 2}, f)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": "src"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(said) == 1


@pytest.mark.django_db
class TestInstances:
    @pytest.fixture
    def ada(self):
        return Author.objects.create(name="Ada")

    def test_an_instance_counts_with_what_it_has_loaded(self, ada):
        same = Author.objects.get(pk=ada.pk)
        assert canonical(ada) == canonical(same)
        same.name = "Grace"
        assert canonical(ada) != canonical(same)
        assert identity(ada) == identity(same)

    def test_instances_of_two_models_differ(self, ada):
        post = Post.objects.create(pk=ada.pk, author=ada, title="x")
        assert identity(ada) != identity(post)

    def test_instances_of_two_databases_differ(self, ada):
        other = Author.objects.get(pk=ada.pk)
        other._state.db = "other"
        assert identity(ada) != identity(other)

    def test_an_annotation_counts(self, ada):
        def counted():
            return canonical(Author.objects.annotate(n=Count("posts")).get(pk=ada.pk))

        before = counted()
        Post.objects.create(author=ada, title="x")
        assert counted() != before

    def test_a_related_object_that_is_loaded_counts(self, ada):
        post = Post.objects.create(author=ada, title="x")

        def loaded():
            return canonical(Post.objects.select_related("author").get(pk=post.pk))

        before = loaded()
        Author.objects.update(name="Grace")
        assert loaded() != before

    def test_prefetched_objects_count(self, ada):
        def loaded():
            return canonical(Author.objects.prefetch_related("posts").get(pk=ada.pk))

        before = loaded()
        Post.objects.create(author=ada, title="x")
        assert loaded() != before

    def test_objects_that_refer_to_each_other_can_be_spelt(self, ada):
        post = Post.objects.create(author=ada, title="x")
        author = Author.objects.prefetch_related("posts").get(pk=ada.pk)
        assert author.posts.all()[0].author is author
        assert canonical(author)
        assert canonical(post)

    def test_spelling_asks_the_database_nothing(self, ada, django_assert_num_queries):
        Post.objects.create(author=ada, title="x")
        post = Post.objects.defer("body").get()
        with django_assert_num_queries(0):
            canonical(post)
            identity(post)

    @pytest.mark.parametrize("instance", (Author(name="x"), Author(pk=5, name="x")))
    def test_an_unsaved_instance_is_refused(self, instance):
        with pytest.raises(UnkeyableArgument, match=r"unsaved testapp\.Author"):
            canonical(instance)
