"""Every way of reading, by name. ``READS`` can be answered from the cache; ``UNCACHEABLE`` cannot."""

from asgiref.sync import async_to_sync
from django.contrib.contenttypes.models import ContentType
from django.db.models import (
    Avg,
    Case,
    CharField,
    Count,
    Exists,
    F,
    FilteredRelation,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)  # fmt: skip
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Length, Rank, TruncMonth, Upper

from tests.testapp.models import (
    Author,
    Book,
    Category,
    Club,
    Comment,
    Country,
    Folder,
    LoudAuthor,
    Membership,
    Note,
    Post,
    Profile,
    Tag,
    Ticket,
    Work,
)  # fmt: skip

READS = {}
UNCACHEABLE = {}


def read(function):
    READS[function.__name__] = function
    return function


def uncacheable(function):
    UNCACHEABLE[function.__name__] = function
    return function


def posts(w):
    return w.all(Post).order_by("pk")


def by_key(found):
    """What comes in no order, in one."""
    return sorted(found, key=lambda instance: instance.pk)


def comments_of_post():
    return Comment.objects.filter(post=OuterRef("pk"))


# -- the methods that ask ------------------------------------------------------------------------
@read
def iteration(w):
    return list(posts(w))


@read
def get_by_key(w):
    return [w.all().filter(pk=post.pk).first() for post in (w.one, w.two, w.three)]


@read
def get_by_title(w):
    return [w.all().filter(title=title).first() for title in ("one", "two", "three", "four")]


@read
def values(w):
    return list(posts(w).values("title", "author__name"))


@read
def values_list(w):
    return list(posts(w).values_list("title", "views"))


@read
def values_list_flat(w):
    return list(posts(w).values_list("title", flat=True))


@read
def values_list_named(w):
    return list(posts(w).values_list("title", "views", named=True))


@read
def count(w):
    return [
        w.all().count(),
        w.all().filter(views__gt=1).count(),
        w.all().filter(pk=w.one.pk).count(),
    ]


@read
def exists(w):
    return [
        w.all().filter(title=title).exists() for title in ("one", "two", "three", "four", "new")
    ]  # fmt: skip


@read
def contains(w):
    return [w.all().filter(views__gt=1).contains(post) for post in (w.one, w.two, w.three)]


@read
def aggregate(w):
    return w.all().aggregate(
        Sum("views"), Avg("views"), Max("published"), Min("title"), n=Count("*")
    )


@read
def aggregate_of_a_slice(w):
    return w.all().order_by("-views")[:2].aggregate(Sum("views"))


@read
def in_bulk(w):
    return w.all().in_bulk([w.one.pk, w.two.pk, w.three.pk])


@read
def in_bulk_of_all(w):
    return w.all(Tag).in_bulk(field_name="name")


@read
def first_and_last(w):
    return [w.all().first(), w.all().last(), w.all().order_by("title").first()]


@read
def earliest_and_latest(w):
    if not w.all().exists():
        return []
    return [w.all().earliest("published"), w.all().latest("views")]


@read
def slices(w):
    return [list(posts(w)[1:2]), list(posts(w)[:2]), list(w.all().order_by("-title")[1:])]


@read
def dates_and_datetimes(w):
    return [list(w.all().dates("published", "day")), list(w.all().datetimes("published", "month"))]


@read
def only_and_defer(w):
    return [list(posts(w).only("title")), list(posts(w).defer("body", "title"))]


@read
def asynchronously(w):
    async def ask():
        return [
            [post async for post in posts(w)],
            await w.all().acount(),
            await w.all().filter(title="one").aexists(),
            await w.all().order_by("views").afirst(),
            await w.all().aaggregate(Sum("views")),
            await w.all().ain_bulk([w.one.pk]),
            await w.all(Tag).filter(name="red").afirst(),
        ]

    return async_to_sync(ask)()


# -- over relations ------------------------------------------------------------------------------
@read
def related_manager(w):
    return [list(author.posts.order_by("pk")) for author in (w.ada, w.bob)]


@read
def many_to_many(w):
    return [
        [list(post.tags.order_by("pk")) for post in (w.one, w.two, w.three)],
        [list(tag.posts.order_by("pk")) for tag in (w.red, w.green)],
    ]


@read
def a_foreign_keys_row(w):
    found = w.all().filter(title="one").first()
    return found and [found.author, found.category]


@read
def one_to_one_from_behind(w):
    return [
        w.all(Profile).filter(pk=w.ada.pk).first(),
        w.all(Author).filter(profile__motto="onwards").first(),
    ]


@read
def many_to_many_with_a_model_between(w):
    return [
        list(w.club.members.order_by("pk")),
        list(w.ada.clubs.order_by("pk").values("membership__since")),
    ]


@read
def prefetched(w):
    found = posts(w).prefetch_related("tags", "comments", "author__profile")
    return [[post, by_key(post.tags.all()), by_key(post.comments.all())] for post in found]


@read
def prefetched_by_hand(w):
    comments = Prefetch("comments", Comment.objects.filter(text__startswith="f"), to_attr="firsts")
    return [[post, post.firsts] for post in posts(w).prefetch_related(comments)]


@read
def selected_related(w):
    return [
        [post, post.author, post.category] for post in posts(w).select_related("author", "category")
    ]


@read
def selected_related_by_key(w):
    found = w.all().select_related("author", "category").filter(pk=w.one.pk).first()
    return found and [found, found.author, found.category]


@read
def filtered_over_relations(w):
    return [
        list(posts(w).filter(author__name="Ada")),
        list(posts(w).filter(tags__name="red")),
        list(posts(w).filter(comments__text="first").distinct()),
        list(posts(w).exclude(category__name="news")),
        list(posts(w).exclude(tags__name="green")),
    ]


@read
def ordered_over_relations(w):
    return [
        list(w.all().order_by("author__name", "-pk")), list(w.all().order_by("-category__name", "pk")),
    ]  # fmt: skip


@read
def filtered_relation(w):
    red = FilteredRelation("tags", condition=Q(tags__name="red"))
    return list(posts(w).annotate(red=red).values_list("title", "red__name"))


@read
def parents_and_children(w):
    return [
        list(w.all(Book).order_by("pk")),
        list(w.all(Work).order_by("pk")),
        w.all(Book).filter(pk=w.book.pk).first(),
    ]


@read
def a_child_from_its_parent(w):
    return list(w.all(Work).filter(book__pages__gt=5).values("title", "book__pages"))


@read
def proxy(w):
    return list(w.all(LoudAuthor).order_by("pk"))


@read
def generic_relation(w):
    kind = ContentType.objects.db_manager(w.alias).get_for_model(Work)
    return [
        list(w.all(Work).filter(notes__text="a note")),
        list(w.all(Note).filter(content_type=kind, object_id=w.work.pk)),
        [by_key(work.notes.all()) for work in w.all(Work).order_by("pk").prefetch_related("notes")],
    ]


@read
def self_relation(w):
    return [
        list(w.all(Folder).order_by("pk").values("name", "parent__name")),
        by_key(w.root.children.all()),
        by_key(w.root.friends.all()),
        w.all(Folder).select_related("parent").filter(pk=w.leaf.pk).first(),
    ]


# -- expressions ---------------------------------------------------------------------------------
@read
def annotated(w):
    return [
        list(w.all(Author).order_by("pk").annotate(n=Count("posts"), most=Max("posts__views"))),
        list(posts(w).annotate(n=Count("comments")).filter(n__gt=0)),
        list(posts(w).annotate(month=TruncMonth("published"), loud=Upper("author__name"))),
        list(w.all().values("author").annotate(total=Sum("views")).order_by("author")),
    ]


@read
def subquery_in_a_filter(w):
    return [
        list(posts(w).filter(author__in=w.all(Author).filter(name="Ada"))),
        list(posts(w).filter(pk__in=w.all(Comment).values("post"))),
        list(posts(w).exclude(pk__in=w.all(Comment).filter(text="first").values("post"))),
    ]


@read
def subquery_in_an_annotation(w):
    newest = comments_of_post().order_by("-pk").values("text")[:1]
    return [
        list(posts(w).annotate(newest=Subquery(newest))),
        list(
            posts(w).annotate(
                newest=Coalesce(Subquery(newest), Value("-"), output_field=CharField())
            )
        ),
    ]


@read
def subquery_in_an_order(w):
    n = Tag.posts.through.objects.filter(post=OuterRef("pk")).values("post").annotate(n=Count("*"))
    return list(w.all().order_by(Coalesce(Subquery(n.values("n")), Value(0)).desc(), "pk"))


@read
def existence(w):
    return [
        list(posts(w).filter(Exists(comments_of_post()))),
        list(posts(w).filter(~Exists(comments_of_post()))),
        list(posts(w).annotate(has=Exists(comments_of_post())).values("pk", "has")),
    ]


@read
def subqueries_in_subqueries(w):
    red = Tag.objects.filter(name="red", posts=OuterRef("post"))
    remarked = Comment.objects.filter(Exists(red), post=OuterRef("pk"))
    return list(posts(w).filter(Exists(remarked)))


@read
def case_and_when(w):
    kind = Case(
        When(Exists(comments_of_post()), then=Value("discussed")),
        When(category__name="news", then=Value("news")),
        default=F("author__name"),
    )
    return list(posts(w).annotate(kind=kind).values("title", "kind"))


@read
def windows(w):
    rank = Window(Rank(), partition_by="author__name", order_by="-views")
    return [list(posts(w).annotate(rank=rank)), list(posts(w).annotate(rank=rank).filter(rank=1))]


@read
def set_operations(w):
    few, many = w.all().filter(views__lt=2), w.all().filter(views__gt=0)
    names = w.all(Author).values_list("name")
    return [
        list(few.union(many).order_by("pk")),
        list(many.intersection(few).order_by("pk")),
        list(many.difference(few).order_by("pk")),
        list(w.all().values_list("title").union(names, all=True).order_by("title")),
        few.union(many).count(),
    ]


@read
def distinct(w):
    return list(w.all().order_by("author__name").values_list("author__name", flat=True).distinct())


@read
def grouped_and_filtered(w):
    grouped = w.all(Category).annotate(n=Count("posts"), size=Length("name"))
    return list(grouped.filter(n__gt=0).order_by("pk"))


@read
def other_models(w):
    return [
        list(w.all(Comment).order_by("pk")), list(w.all(Club).order_by("pk")),
        list(w.all(Membership).order_by("pk")), list(w.all(Tag).order_by("pk")),
        list(w.all(Ticket).filter(pk=w.ticket.pk)), list(w.all(Country).filter(pk="FR")),
        list(w.all(Country).order_by("pk")), list(w.all(Note).order_by("pk")),
    ]  # fmt: skip


@read
def sql_in_an_expression(w):
    longest = RawSQL("(SELECT MAX(text) FROM testapp_comment WHERE post_id = testapp_post.id)", ())
    return list(posts(w).annotate(longest=longest).values("title", "longest"))


@read
def extra(w):
    n = "SELECT COUNT(*) FROM testapp_comment WHERE testapp_comment.post_id = testapp_post.id"
    return [
        list(posts(w).extra(select={"n": n}).values("title", "n")),
        list(posts(w).extra(tables=["testapp_author"], where=["testapp_author.id = author_id"])),
    ]


# -- never from the cache ------------------------------------------------------------------------
@uncacheable
def raw(w):
    return list(w.all().raw("SELECT * FROM testapp_post ORDER BY id"))


@uncacheable
def iterator(w):
    return list(posts(w).iterator(chunk_size=2))


@uncacheable
def cursor(w):
    with w.connection.cursor() as cursor:
        cursor.execute("SELECT title FROM testapp_post ORDER BY id")
        return cursor.fetchall()


EVERYTHING = {**READS, **UNCACHEABLE}
