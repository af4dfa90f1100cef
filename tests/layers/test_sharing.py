"""A store in this process keeps values decoded, and still nobody sees what somebody else does to his."""

import gc
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from unittest import mock
from uuid import UUID

import pytest
from django.template import Context, Template
from django.test import Client

from django_layercache import token_snapshot
from django_layercache.decorators import cached
from django_layercache.handlers import engines, get_engine
from django_layercache.serializers.pages import Page
from django_layercache.serializers.rows import RowsCodec
from django_layercache.serializers.sharing import size_of_page, size_of_plain, size_of_rows
from django_layercache.serializers.signed import SignedCodec
from tests.pages.conftest import INSIDE, SITE
from tests.querysets.conftest import use_store
from tests.testapp.models import Author, Post

VALUES = (
    None, True, 7, 2**70, 1.5, "a", b"b", Decimal("1.50"), UUID(int=5), date(2026, 1, 2),
    datetime(2026, 1, 2, tzinfo=UTC), timedelta(1),
)  # fmt: skip


# -- what may be shared ------------------------------------------------------------------------


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_nobody_can_change_may_be_shared(value: object) -> None:
    assert size_of_rows([(1, value)])
    assert size_of_plain((1, (value,)))


class Text(str):  # noqa: SLOT000
    """One that may have attributes."""


@pytest.mark.parametrize(
    "value",
    ([1], {"a": 1}, {1}, bytearray(b"a"), memoryview(b"a"), Text("a"), (1, [2]), object()),
    ids=lambda value: type(value).__name__,
)
def test_what_somebody_can_change_may_not(value: object) -> None:
    assert size_of_rows([(1, "a"), (2, value)]) is None
    assert size_of_plain((1, value)) is None


def test_tuples_in_tuples_without_end_may_not() -> None:
    value: tuple = ()
    for _ in range(100_000):
        value = (value,)
    assert size_of_plain(value) is None


def taken_by(decode) -> int:
    decode()
    gc.collect()
    tracemalloc.start()
    try:
        kept = [decode() for _ in range(20)]
        return tracemalloc.get_traced_memory()[0] // len(kept)
    finally:
        tracemalloc.stop()


def a_page() -> Page:
    return Page(200, "OK", "utf-8", [(f"X-{n}", f"value {n}") for n in range(9)], bytes(5000))


def many_of(n: int) -> tuple:
    return tuple((number + 1000, f"title {number}") for number in range(n))


def rows_of(n: int) -> list:
    kinds = [f"kind {number}" for number in range(3)]
    return [
        (k + 1000, f"title {k}", UUID(int=2**100 + k), Decimal(k), None, k / 3, k % 7, kinds[k % 3])
        for k in range(n)
    ]


@pytest.mark.parametrize(
    ("make", "counted_by"),
    (
        (lambda: rows_of(1), size_of_rows),
        (lambda: rows_of(200), size_of_rows),
        (lambda: RowsCodec.loads(RowsCodec.dumps(rows_of(200))), size_of_rows),
        (lambda: many_of(50), size_of_plain),
        (lambda: tuple(n % 100 for n in range(1000)), size_of_plain),
        (a_page, size_of_page),
    ),
    ids=("a row", "rows", "decoded rows", "tuples", "small numbers", "a page"),
)
def test_values_take_as_much_memory_as_is_counted(make, counted_by) -> None:
    counted = counted_by(make())
    assert 0.88 * counted <= taken_by(make) <= 1.12 * counted


# -- what callers get --------------------------------------------------------------------------


@pytest.fixture(params=["local", "strict", "request", "pushed"])
def shared(request, settings):
    """A store in this process; or a near tier, where everything is one request."""
    if request.param == "local":
        settings.LAYERCACHE = {"CACHE": None}
        yield
        return
    near = {"freshness": request.param}
    use_store(request, settings, "redis", NAMESPACE="sharing", NEAR=near)
    with token_snapshot():
        yield
    get_engine().store.reset()
    engines.reset()


@pytest.mark.django_db(transaction=True)
class TestQuerysets:
    @pytest.fixture(autouse=True)
    def posts(self, shared):
        author = Author.objects.create(name="Ada")
        for number in range(3):
            Post.objects.create(author=author, title=f"title {number}")
        self.posts = Post.objects.order_by("pk").cached()

    def test_rows_are_decoded_once(self, django_assert_num_queries):
        list(self.posts)
        with mock.patch.object(RowsCodec, "loads", side_effect=RowsCodec.loads) as loads:
            titles = [[post.title for post in self.posts.all()] for _ in range(4)]
        assert titles == [["title 0", "title 1", "title 2"]] * 4
        assert loads.call_count == 1

    def test_the_rows_of_one_who_changes_his_are_his(self):
        for _ in range(3):
            rows = self.posts.query.get_compiler("default").execute_sql()
            assert [len(chunk) for chunk in rows] == [3]
            rows[0].clear()
            rows.clear()

    def test_instances_dictionaries_and_lists_are_fresh(self):
        for _ in range(3):
            post = self.posts.select_related("author")[0]
            assert (post.title, post.author.name, vars(post).get("mine")) == (
                "title 0",
                "Ada",
                None,
            )
            post.title = post.author.name = post.mine = "mine"
            row = self.posts.values("title")[0]
            assert row == {"title": "title 0"}
            row["title"] = "mine"
            row = list(self.posts.values_list("title", flat=True))
            assert row == ["title 0", "title 1", "title 2"]
            row.append("mine")


def test_what_a_function_returns_is_decoded_once_if_nobody_can_change_it(shared):
    answers = {"plain": ("a", 1), "list": ["a"]}

    @cached(timeout=60)
    def answer(name):
        return answers[name]

    with mock.patch.object(
        SignedCodec, "loads", autospec=True, side_effect=SignedCodec.loads
    ) as loads:
        for _ in range(4):
            assert answer("plain") == ("a", 1)
        assert loads.call_count == 1
        for _ in range(4):
            got = answer("list")
            assert got == ["a"]
            got.append("mine")
        assert loads.call_count == 4


def test_a_fragment_is_decoded_once(shared):
    template = Template("{% load layercache %}{% layercache 60 'x' %}text{% endlayercache %}")
    with mock.patch(
        "django_layercache.serializers.text.TextCodec.loads", return_value="decoded"
    ) as loads:
        assert [template.render(Context()) for _ in range(4)] == ["text"] + ["decoded"] * 3
    assert loads.call_count == 1


@pytest.mark.django_db(transaction=True)
def test_the_headers_of_a_page_are_its_own(shared, settings):
    settings.ROOT_URLCONF = "tests.pages.urls"
    settings.MIDDLEWARE = [SITE, *INSIDE]
    Author.objects.create(name="Ada")
    for _ in range(4):
        response = Client().get("/authors/")
        assert response.content == b"Ada"
        assert "X-Mine" not in response
        response["X-Mine"] = "yes"
        response.content = b"mine"
