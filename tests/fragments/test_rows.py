"""Rows that were read before the fragment was."""

import pytest
from django.core.paginator import Paginator
from django.template import Context, Template

from django_layercache import trace
from tests.testapp.models import Author, Post

pytestmark = pytest.mark.django_db(transaction=True)


def render(source, **context):
    with trace() as events:
        markup = Template("{% load layercache %}" + source).render(Context(context))
    return markup, next(event.outcome for event in events if event.layer == "fragments")


@pytest.fixture
def post():
    author = Author.objects.create(name="Ada")
    return Post.objects.create(author=author, title="old")


TEASER = '{% layercache 600 "teaser" post.pk %}{{ post.title }}{% endlayercache %}'


def test_a_fragment_shows_the_post_that_it_is_given(post):
    assert render(TEASER, post=Post.objects.get()) == ("old", "miss")
    assert render(TEASER, post=Post.objects.get()) == ("old", "hit")
    Post.objects.update(title="new")
    assert render(TEASER, post=Post.objects.get()) == ("new", "miss")


def test_a_fragment_that_shows_only_what_it_varies_on_needs_no_more(post):
    source = '{% layercache 600 "link" post.pk %}/{{ post.pk }}/{% endlayercache %}'
    render(source, post=post)
    Post.objects.update(title="new")
    assert render(source, post=Post.objects.get())[1] == "hit"


def test_a_post_that_is_not_shown_does_not_count(post):
    source = '{% layercache 600 "x" %}{{ other }}{% endlayercache %}'
    render(source, post=post, other=1)
    Post.objects.update(title="new")
    assert render(source, post=Post.objects.get(), other=1)[1] == "hit"


def test_a_name_in_quotes_is_not_looked_up(post):
    source = '{% layercache 600 "x" %}{{ other|default:"the post" }}{% endlayercache %}'
    render(source, post=post, other=1)
    Post.objects.update(title="new")
    assert render(source, post=Post.objects.get(), other=1)[1] == "hit"


def test_a_post_that_is_shown_by_an_included_template_counts(post, settings):
    from django.template import Engine

    engine = Engine(
        loaders=[
            (
                "django.template.loaders.locmem.Loader",
                {
                    "page": "{% load layercache %}{% layercache 9 x %}{% include 'a' %}{% endlayercache %}",
                    "a": "{% include 'b' %}{% if 0 %}{% include 'a' %}{% endif %}",
                    "b": "{{ post.title }}",
                },
            )
        ],
        libraries={"layercache": "django_layercache.templatetags.layercache"},
    )
    page = engine.get_template("page")
    assert page.render(Context({"post": post})) == "old"
    Post.objects.update(title="new")
    assert page.render(Context({"post": Post.objects.get()})) == "new"


@pytest.mark.parametrize(
    "given",
    (
        lambda posts: list(posts),
        lambda posts: posts or None,
        lambda posts: posts if len(posts.values("title")) else None,
        lambda posts: Paginator(posts, 10).page(1),
        lambda posts: Paginator(list(posts), 10).page(1),
    ),
)
def test_a_list_that_was_read_before_counts(post, given):
    source = (
        '{% layercache 600 "x" %}{% for p in posts %}{{ p.title }}{% endfor %}{% endlayercache %}'
    )

    def shown():
        return render(source, posts=given(Post.objects.order_by("pk")))

    assert shown() == ("old", "miss")
    assert shown() == ("old", "hit")
    Post.objects.update(title="new")
    assert shown() == ("new", "miss")


def test_a_row_that_is_not_saved_is_shown_as_it_is():
    source = '{% layercache 600 "x" %}{{ post.title }}{% endlayercache %}'
    assert render(source, post=Post(title="draft"))[0] == "draft"
    assert render(source, post=Post(title="other"))[0] == "other"


def test_spelling_what_was_read_asks_the_database_nothing(post, django_assert_num_queries):
    render(TEASER, post=post)
    with django_assert_num_queries(0):
        render(TEASER, post=post)
