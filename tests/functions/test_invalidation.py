"""What makes a cached function compute again."""

import threading

import pytest
from django.db import transaction

from django_layercache import depends_on, invalidate, trace
from django_layercache.decorators import cached
from tests.testapp.models import Author, Post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def count():
    """A function that returns how often each argument was computed."""
    calls = []

    @cached
    def count(a=0):
        calls.append(a)
        return calls.count(a)

    return count


def test_invalidate_forgets_one_call(count):
    count(1), count(2)
    count.invalidate(1)
    assert [count(1), count(2)] == [2, 1]


def test_invalidate_all_forgets_every_call(count):
    count(1), count(2)
    count.invalidate_all()
    assert [count(1), count(2)] == [2, 2]


def test_invalidating_during_a_computation_is_not_lost():
    inside, go = threading.Event(), threading.Event()
    source = ["old"]

    @cached
    def read():
        value = source[0]
        inside.set()
        go.wait(5)
        return value

    thread = threading.Thread(target=read)
    thread.start()
    inside.wait(5)
    source[0] = "new"
    read.invalidate()
    go.set()
    thread.join(5)
    assert read() == "new"


def test_inside_a_transaction_it_takes_effect_at_the_commit(count):
    count(1)
    with transaction.atomic():
        count.invalidate(1)
        others = []
        thread = threading.Thread(target=lambda: others.append(count(1)))
        thread.start()
        thread.join(5)
    assert others == [1]
    assert count(1) == 2


def test_a_rollback_takes_it_back(count):
    count(1)
    with transaction.atomic():
        count.invalidate(1)
        transaction.set_rollback(True)
    assert count(1) == 1


def test_inside_the_transaction_the_value_is_computed(count):
    count(1)
    with transaction.atomic():
        count.invalidate(1)
        assert count(1) == 2


def test_a_value_depends_on_what_was_read():
    @cached
    def names():
        return list(Author.objects.order_by("name").values_list("name", flat=True))

    Author.objects.create(name="Ada")
    assert names() == names() == ["Ada"]
    Author.objects.create(name="Bob")
    assert names() == ["Ada", "Bob"]


def test_a_queryset_that_is_returned_unevaluated_is_a_dependency():
    @cached
    def authors():
        return Author.objects.order_by("name")

    Author.objects.create(name="Ada")
    authors()
    with trace() as events:
        assert [author.name for author in authors()] == ["Ada"]
    assert events[-1].outcome == "hit"
    Author.objects.create(name="Bob")
    assert [author.name for author in authors()] == ["Ada", "Bob"]


def test_a_value_depends_on_the_functions_that_it_called():
    @cached
    def inner():
        return Author.objects.count()

    @cached
    def outer():
        return inner() + 100

    inner()
    assert outer() == 100
    Author.objects.create(name="Ada")
    assert outer() == 101


def test_a_value_depends_on_the_tags_that_the_decorator_names(count):
    calls = []

    @cached(tags=["weather", Post])
    def function():
        calls.append(1)

    function(), function()
    invalidate("weather")
    function(), function()
    author = Author.objects.create(name="Ada")
    assert len(calls) == 2
    Post.objects.create(author=author, title="x")
    function()
    assert len(calls) == 3


def test_tags_can_be_computed_from_the_arguments():
    calls = []

    @cached(tags=lambda city: [f"weather in {city}"])
    def weather(city):
        calls.append(city)

    weather("Rome"), weather("Oslo")
    invalidate("weather in Rome")
    weather("Rome"), weather("Oslo")
    assert calls == ["Rome", "Oslo", "Rome"]


def test_a_value_depends_on_what_was_named_inside():
    calls = []

    @cached
    def function():
        depends_on("weather")
        calls.append(1)

    function(), function()
    invalidate("weather")
    function()
    assert len(calls) == 2


def test_a_call_with_an_instance_is_invalidated_by_the_row_whatever_is_loaded():
    author = Author.objects.create(name="Ada")
    calls = []

    @cached
    def function(author):
        calls.append(author.name)

    function(author)
    function.invalidate(Author.objects.defer("name").get(pk=author.pk))
    function(author)
    assert calls == ["Ada", "Ada"]


def test_the_tags_of_a_function_are_readable():
    @cached
    def f(a):
        return a

    with trace() as events:
        f(1)
    assert [tag.rpartition(".")[2] for tag in events[0].tags] == ["f", "f(i1;)"]
