"""A query that is bound to partitions survives what happens in the others, and sees all in its own."""

import pytest
from django.db import connections, transaction
from django.test import override_settings

from django_layercache import cached, trace
from django_layercache import checks as our_checks
from tests.testapp.models import Author, Comment, Post, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "postgres"])

DECLARED = {"MODELS": {"testapp.comment": {"partition_by": ["post"], "cached": False}}}


@pytest.fixture(params=["default", "postgres"])
def using(request):
    return request.param


@pytest.fixture
def posts(using):
    author = Author.objects.using(using).create(name="Ada")
    create = Post.objects.using(using).create
    return [create(author=author, title=title) for title in ("one", "two")]


@pytest.fixture
def declared():
    with override_settings(LAYERCACHE=DECLARED):
        yield


class Watched:
    """A cached question: what it answers, and whether that was a hit."""

    def __init__(self, ask):
        self.ask = ask
        self.ask()
        assert self.outcome() == "hit"

    def outcome(self):
        with trace() as events:
            self.ask()
        return events[-1].outcome


def comments(post, using):
    def ask():
        found = Comment.objects.using(using).filter(post=post).order_by("pk").cached()
        return [comment.text for comment in found]

    return Watched(ask)


def tags(post):
    return Watched(lambda: sorted(tag.name for tag in post.tags.cached()))


def stays(*watched):
    return [one.outcome() for one in watched] == ["hit"] * len(watched)


def is_rebuilt(one):
    return one.outcome() == "miss"


def test_a_declared_partition_is_a_tag(declared, posts, using):
    with trace() as events:
        list(Comment.objects.using(using).filter(post=posts[0]).cached())
    key = posts[0].pk
    assert {"testapp_comment#post_id=?", f"testapp_comment#post_id={key}"} <= set(events[0].tags)
    assert "testapp_comment#*" not in events[0].tags


def test_a_foreign_key_needs_no_declaration_and_other_columns_do(posts, using):
    for condition, is_partition in (({"post": posts[0]}, True), ({"text": "x"}, False)):
        with trace() as events:
            list(Comment.objects.using(using).filter(**condition).cached())
        assert any("=" in tag for tag in events[0].tags) is is_partition


def test_a_row_that_is_looked_for_by_a_unique_column_stays_when_others_appear(using):
    objects = Tag.objects.using(using)
    red = objects.create(name="red")
    found = Watched(lambda: objects.cached().filter(name="red").first())
    missing = Watched(lambda: objects.cached().filter(name="green").first())
    objects.create(name="blue")
    assert stays(found, missing)
    objects.create(name="green")
    assert stays(found)
    assert missing.ask().name == "green"
    objects.filter(pk=red.pk).update(name="pink")
    assert found.ask() is None


def test_a_new_row_is_seen_in_its_partition_and_in_no_other(declared, posts, using):
    first, second = (comments(post, using) for post in posts)
    Comment.objects.using(using).create(post=posts[0], text="new")
    assert stays(second)
    assert is_rebuilt(first)
    assert first.ask() == ["new"]


@pytest.mark.parametrize("atomic", (False, True))
def test_many_new_rows_are_seen_in_theirs(declared, posts, using, atomic):
    third = Post.objects.using(using).create(author=posts[0].author, title="three")
    all_of_them = [comments(post, using) for post in (*posts, third)]
    rows = [Comment(post=post, text="x") for post in posts]
    if atomic:
        with transaction.atomic(using=using):
            Comment.objects.using(using).bulk_create(rows)
    else:
        Comment.objects.using(using).bulk_create(rows)
    assert stays(all_of_them[2])
    assert [one.ask() for one in all_of_them] == [["x"], ["x"], []]


def test_a_row_that_moves_is_seen_in_both(declared, posts, using):
    comment = Comment.objects.using(using).create(post=posts[0], text="x")
    first, second = (comments(post, using) for post in posts)
    comment.post = posts[1]
    comment.save()
    assert (first.ask(), second.ask()) == ([], ["x"])


def test_an_update_of_a_row_whose_partition_nobody_names_is_seen(declared, posts, using):
    comment = Comment.objects.using(using).create(post=posts[0], text="x")
    first = comments(posts[0], using)
    comment.text = "y"
    comment.save(update_fields=["text"])
    assert first.ask() == ["y"]
    Comment.objects.using(using).filter(pk=comment.pk).update(text="z")
    assert first.ask() == ["z"]
    Comment.objects.using(using).update(text="all")
    assert first.ask() == ["all"]


def test_an_update_that_is_bound_to_a_partition_leaves_the_others(declared, posts, using):
    for post in posts:
        Comment.objects.using(using).create(post=post, text="x")
    first, second = (comments(post, using) for post in posts)
    Comment.objects.using(using).filter(post=posts[0]).update(text="y")
    assert stays(second)
    assert first.ask() == ["y"]


def test_an_update_that_moves_a_whole_partition_is_seen_in_the_new_one(declared, posts, using):
    Comment.objects.using(using).create(post=posts[0], text="x")
    first, second = (comments(post, using) for post in posts)
    Comment.objects.using(using).filter(post=posts[0]).update(post=posts[1])
    assert (first.ask(), second.ask()) == ([], ["x"])


@pytest.mark.parametrize("how", ("instance", "by pk", "by partition", "all", "cascade", "raw"))
def test_a_deleted_row_is_seen(declared, posts, using, how):
    comment = Comment.objects.using(using).create(post=posts[0], text="x")
    first = comments(posts[0], using)
    objects = Comment.objects.using(using)
    if how == "instance":
        comment.delete()
    elif how == "by pk":
        objects.filter(pk=comment.pk).delete()
    elif how == "by partition":
        objects.filter(post=posts[0]).delete()
    elif how == "all":
        objects.all().delete()
    elif how == "cascade":
        posts[0].author.delete()
    else:
        with connections[using].cursor() as cursor:
            cursor.execute("DELETE FROM testapp_comment WHERE id = %s", [comment.pk])
    assert first.ask() == []


def test_an_upsert_is_seen(declared, posts, using):
    comment = Comment.objects.using(using).create(post=posts[0], text="x")
    first = comments(posts[0], using)
    Comment.objects.using(using).bulk_create(
        [Comment(pk=comment.pk, post=posts[1], text="y")],
        update_conflicts=True,
        update_fields=["text"],
        unique_fields=["id"],
    )
    assert first.ask() == ["y"]


def test_a_rolled_back_row_is_not_seen_and_the_entry_stays(declared, posts, using):
    first = comments(posts[0], using)
    with transaction.atomic(using=using):
        Comment.objects.using(using).create(post=posts[0], text="x")
        assert first.ask() == ["x"]
        transaction.set_rollback(True, using=using)
    assert stays(first)
    assert first.ask() == []


def test_a_query_that_reads_the_table_twice_is_not_bound_to_a_partition(declared, posts, using):
    other = Comment.objects.using(using).create(post=posts[1], text="x")

    def ask():
        same_text = Comment.objects.using(using).filter(text="x").values("post")
        return (
            Comment.objects.using(using).filter(post=posts[1], post__in=same_text).cached().count()
        )

    asked = Watched(ask)
    Comment.objects.using(using).create(post=posts[0], text="x")
    assert is_rebuilt(asked)
    other.delete()
    assert asked.ask() == 0


def test_a_page_over_one_partition_stays_when_another_changes(declared, posts, using):
    @cached
    def texts(pk):
        return list(Comment.objects.using(using).filter(post_id=pk).values_list("text", flat=True))

    first, second = (Watched(lambda post=post: texts(post.pk)) for post in posts)
    Comment.objects.using(using).create(post=posts[0], text="x")
    assert stays(second)
    assert first.ask() == ["x"]


# -- automatic m2m tables, by both foreign keys -------------------------------------------------


def test_the_tags_of_one_post_stay_when_another_post_gets_one(posts, using):
    red, blue = (Tag.objects.using(using).create(name=name) for name in ("red", "blue"))
    first, second = (tags(post) for post in posts)
    posts[0].tags.add(red, blue)
    assert stays(second)
    assert first.ask() == ["blue", "red"]
    posts[0].tags.remove(red)
    assert stays(second)
    assert first.ask() == ["blue"]
    posts[0].tags.set([red])
    assert first.ask() == ["red"]
    posts[0].tags.clear()
    assert stays(second)
    assert first.ask() == []


def test_the_other_side_sees_it_too(posts, using):
    red = Tag.objects.using(using).create(name="red")
    titles = Watched(lambda: sorted(post.title for post in red.posts.cached()))
    posts[0].tags.add(red)
    assert titles.ask() == ["one"]
    red.posts.add(posts[1])
    assert titles.ask() == ["one", "two"]
    posts[0].tags.clear()
    assert titles.ask() == ["two"]
    posts[1].delete()
    assert titles.ask() == []


def test_prefetched_tags_are_fresh(posts, using):
    red = Tag.objects.using(using).create(name="red")

    def ask():
        found = Post.objects.using(using).order_by("title").prefetch_related("tags").cached()
        return [[tag.name for tag in post.tags.all()] for post in found]

    asked = Watched(ask)
    posts[1].tags.add(red)
    assert asked.ask() == [[], ["red"]]
    red.delete()
    assert asked.ask() == [[], []]


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "models",
    (
        {"testapp.comment": {"partition_by": "post"}},
        {"testapp.comment": {"partition_by": ["pots"]}},
        {"testapp.post": {"partition_by": ["tags"]}},
        {"testapp.*": {"partition_by": ["post"]}},
    ),
)
def test_a_partition_that_is_no_field_is_an_error(models):
    with override_settings(LAYERCACHE={"MODELS": models}):
        assert [message.id for message in our_checks.check_settings()] == ["layercache.E011"]


def test_a_good_declaration_is_fine():
    with override_settings(LAYERCACHE=DECLARED):
        assert our_checks.check_settings() == []
