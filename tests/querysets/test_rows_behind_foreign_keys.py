"""A query for certain rows depends on the rows that these refer to, not on the whole of their tables."""

import pytest
from django.db import transaction
from django.db.models import F

from django_layercache import cached, trace
from tests.testapp.models import Author, Category, Post

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "postgres"])


@pytest.fixture(params=["default", "postgres"])
def using(request):
    return request.param


@pytest.fixture
def post(using):
    ada, grace = (Author.objects.using(using).create(name=name) for name in ("Ada", "Grace"))
    category = Category.objects.using(using).create(name="news")
    post = Post.objects.using(using).create(author=ada, category=category, title="one")
    Post.objects.using(using).create(author=grace, title="two")
    know_the_rows(using)
    return post


def know_the_rows(using):
    """A row's tag has a token once somebody has asked for it."""
    for model in (Author, Category):
        for instance in model.objects.using(using).all():
            model.objects.using(using).cached().get(pk=instance.pk)


def asked(ask):
    with trace() as events:
        value = ask()
    return value, events[-1]


def outcome(ask):
    return asked(ask)[1].outcome


def detail(post, using):
    def ask():
        found = Post.objects.using(using).select_related("author", "category").cached()
        one = found.get(pk=post.pk)
        return one.title, one.author.name, one.category and one.category.name

    return ask


def other_author(using):
    return Author.objects.using(using).get(name="Grace")


def test_it_depends_on_the_row_that_it_shows(post, using):
    _, event = asked(detail(post, using))
    assert f"testapp_author#pk={post.author_id}" in event.tags
    assert "testapp_author#*" not in event.tags
    assert f"testapp_category#pk={post.category_id}" in event.tags


def test_it_stays_when_another_row_changes(post, using):
    ask = detail(post, using)
    ask()
    other = other_author(using)
    other.name = "Hopper"
    other.save()
    Author.objects.using(using).create(name="Katherine")
    assert outcome(ask) == "hit"


def test_it_sees_a_change_of_the_row(post, using):
    ask = detail(post, using)
    ask()
    Author.objects.using(using).filter(pk=post.author_id).update(name="Lovelace")
    assert ask() == ("one", "Lovelace", "news")
    Author.objects.using(using).update(name="Somebody")
    assert ask() == ("one", "Somebody", "news")


def test_it_sees_that_it_refers_to_another_row(post, using):
    ask = detail(post, using)
    ask()
    Post.objects.using(using).filter(pk=post.pk).update(author=other_author(using))
    assert ask() == ("one", "Grace", "news")
    Author.objects.using(using).filter(name="Grace").update(name="Hopper")
    assert ask() == ("one", "Hopper", "news")


def test_it_sees_that_it_refers_to_nothing_and_to_something_again(post, using):
    ask = detail(post, using)
    ask()
    category = post.category
    category.delete()
    assert ask() == ("one", "Ada", None)
    again = Category.objects.using(using).create(name="sports")
    assert outcome(ask) == "hit"
    Post.objects.using(using).filter(pk=post.pk).update(category=again)
    assert ask() == ("one", "Ada", "sports")


def test_a_row_that_was_never_asked_for_has_to_wait_for_the_next_time(post, using):
    new = Author.objects.using(using).create(name="New")
    Post.objects.using(using).filter(pk=post.pk).update(author=new)
    ask = detail(post, using)
    assert "testapp_author#.name" in asked(ask)[1].tags
    Author.objects.using(using).exclude(pk=new.pk).update(name="Katherine")
    assert f"testapp_author#pk={new.pk}" in asked(ask)[1].tags


def test_a_condition_on_the_other_table_counts_too(post, using):
    def ask():
        found = Post.objects.using(using).select_related("author").cached()
        return [one.title for one in found.filter(pk=post.pk, author__name="Ada")]

    assert ask() == ["one"]
    Author.objects.using(using).filter(pk=post.author_id).update(name="Lovelace")
    assert ask() == []
    assert "testapp_author#.name" in asked(ask)[1].tags
    Author.objects.using(using).filter(pk=post.author_id).update(name="Ada")
    assert ask() == ["one"]


def test_without_the_keys_in_the_result_it_depends_on_the_columns_that_it_reads(post, using):
    def ask():
        found = Post.objects.using(using).filter(pk=post.pk).values_list(F("author__name"))
        return list(found.cached())

    assert ask() == [("Ada",)]
    assert {"testapp_author#pk=?+", "testapp_author#.name"} <= set(asked(ask)[1].tags)
    Author.objects.using(using).filter(pk=post.author_id).update(name="Lovelace")
    assert ask() == [("Lovelace",)]


def test_what_encloses_an_uncached_one_depends_on_the_row_too(post, using):
    @cached
    def name(pk):
        return Post.objects.using(using).select_related("author").get(pk=pk).author.name

    assert name(post.pk) == "Ada"
    other = other_author(using)
    other.name = "Hopper"
    other.save()
    assert outcome(lambda: name(post.pk)) == "hit"
    Author.objects.using(using).filter(pk=post.author_id).update(name="Lovelace")
    assert name(post.pk) == "Lovelace"


def test_a_row_that_is_still_referred_to_may_be_gone_until_the_commit_checks_that(post, using):
    authors = Author.objects.using(using)

    def read():
        found = Post.objects.using(using).order_by("pk").cached()
        return list(found.values_list("title", "author__name"))

    assert read() == read() == [("one", "Ada"), ("two", "Grace")]
    with transaction.atomic(using):
        ada = authors.get(pk=post.author_id)
        authors.filter(pk=ada.pk)._raw_delete(using)
        assert read() == [("two", "Grace")]
        ada.save(force_insert=True, using=using)
    assert read() == [("one", "Ada"), ("two", "Grace")]
