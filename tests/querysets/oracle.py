"""Hundreds of queries, many writes, and an oracle that asks the database itself.

Apart from the tests, so that others than this library can be asked, too.
"""

from collections import Counter

from django.db import transaction
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    Max,
    Min,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)  # fmt: skip
from django.db.models.functions import Coalesce, Rank, Upper

from django_layercache import trace
from tests.querysets.world import START, cached, elsewhere, uncached
from tests.testapp.models import Author, Category, Comment, Post, Tag


# -- queries: each filter with each shape ----------------------------------------------------------
def remarks():
    return Comment.objects.filter(post=OuterRef("pk")).order_by("pk")


FILTERS = {
    "all": lambda q, w: q,
    "one": lambda q, w: q.filter(pk=w.one.pk),
    "some": lambda q, w: q.filter(pk__in=[w.one.pk, w.three.pk]),
    "missing": lambda q, w: q.filter(pk__in=[w.one.pk, 10**6]),
    "title": lambda q, w: q.filter(title="two"),
    "many views": lambda q, w: q.filter(views__gt=1),
    "either": lambda q, w: q.filter(Q(pk=w.one.pk) | Q(author__name="Bob")),
    "of an author": lambda q, w: q.filter(author=w.ada),
    "of a name": lambda q, w: q.filter(author__name__startswith="A"),
    "red": lambda q, w: q.filter(tags__name="red"),
    "not red": lambda q, w: q.exclude(tags__name="red"),
    "no category": lambda q, w: q.filter(category__isnull=True),
    "discussed": lambda q, w: q.filter(Exists(remarks())),
    "not discussed": lambda q, w: q.filter(~Exists(remarks().filter(text="first"))),
    "in a subquery": lambda q, w: q.filter(author__in=w.all(Author).filter(posts__views__gt=2)),
}
SHAPES = {
    "instances": lambda q, w: list(q.order_by("pk")),
    "by author": lambda q, w: list(q.order_by("author__name", "-pk")),
    "values": lambda q, w: list(q.order_by("pk").values("title", "author__name", "category__name")),
    "count": lambda q, w: q.count(),
    "exists": lambda q, w: q.exists(),
    "last": lambda q, w: q.order_by("pk").last(),
    "aggregate": lambda q, w: q.aggregate(Sum("views"), Min("title"), n=Count("comments"), a=Avg("views")),
    "slice": lambda q, w: list(q.order_by("-views", "pk")[1:3]),
    "annotated": lambda q, w: list(q.annotate(n=Count("tags"), m=Max("comments__pk")).order_by("pk")),
    "grouped": lambda q, w: list(q.values("author__name").annotate(n=Sum("views")).order_by("author__name")),
    "distinct": lambda q, w: list(q.order_by("author").values_list("author", flat=True).distinct()),
    "related": lambda q, w: [[p, p.author, p.category] for p in q.select_related("author", "category").order_by("pk")],
    "prefetched": lambda q, w: [
        [p, sorted(t.name for t in p.tags.all())] for p in q.order_by("pk").prefetch_related("tags")
    ],
    "subquery": lambda q, w: list(
        q.order_by("pk").annotate(x=Coalesce(Subquery(remarks().values("pk")[:1]), 0)).values("pk", "x")
    ),
    "case": lambda q, w: list(
        q.order_by("pk").values_list(
            Case(When(Exists(remarks()), then=Value(1)), default=F("views"), output_field=IntegerField())
        )
    ),
    "window": lambda q, w: list(q.annotate(r=Window(Rank(), order_by="-views")).order_by("pk").values("pk", "r")),
    "shouted": lambda q, w: list(q.annotate(x=Upper("author__name")).order_by("pk").values_list("x", flat=True)),
    "union": lambda q, w: list(
        q.order_by().values_list("pk").union(w.all(Comment).values_list("post"), all=True).order_by("pk")
    ),
}  # fmt: skip
QUERIES = {
    f"{f}/{s}": lambda w, f=f, s=s: SHAPES[s](FILTERS[f](w.all(), w), w)
    for f in FILTERS
    for s in SHAPES
}
QUERIES |= {
    "authors": lambda w: list(w.all(Author).order_by("pk")),
    "an author": lambda w: list(w.all(Author).filter(pk=w.ada.pk)),
    "names and numbers": lambda w: list(w.all(Author).annotate(n=Count("posts__comments")).order_by("pk")),
    "categories": lambda w: list(w.all(Category).annotate(n=Count("posts")).order_by("pk").values()),
    "tags": lambda w: list(w.all(Tag).filter(posts__author__name="Ada").distinct().order_by("pk")),
    "comments": lambda w: list(w.all(Comment).select_related("post__author").order_by("pk").values("post__title")),
    "clubs": lambda w: list(w.all(type(w.club)).order_by("pk")),
}  # fmt: skip


# -- writes ----------------------------------------------------------------------------------------
def some(model, w, r):
    rows = list(w.all(model).order_by("pk"))
    return r.choice(rows) if rows else None


def change_instance(w, r):
    post = some(Post, w, r)
    post.title, post.views = r.choice(["one", "two", "new"]), r.randrange(5)
    post.save()


WRITES = {
    "insert": lambda w, r: w.new(Post, author=some(Author, w, r), title="two", views=r.randrange(5), published=START),
    "save": change_instance,
    "save a field": lambda w, r: some(Post, w, r).save(update_fields=["views"]),
    "update a row": lambda w, r: w.all().filter(pk=some(Post, w, r).pk).update(views=r.randrange(5)),
    "update rows": lambda w, r: w.all().filter(views__gt=1).update(views=F("views") - 1),
    "update over a join": lambda w, r: w.all().filter(author__name="Bob").update(title=r.choice("xyz")),
    "move": lambda w, r: w.all().filter(pk=w.one.pk).update(author=some(Author, w, r), category=some(Category, w, r)),
    "bulk create": lambda w, r: w.all(Comment).bulk_create(
        [Comment(post=some(Post, w, r), text="first", created=START) for _ in range(2)]
    ),
    "bulk update": lambda w, r: w.all().bulk_update([Post(pk=w.one.pk, views=r.randrange(9))], ["views"]),
    "upsert": lambda w, r: w.all(Author).bulk_create(
        [Author(pk=w.ada.pk, name=r.choice(["Ada", "Abe"]))],
        update_conflicts=True, update_fields=["name"], unique_fields=["id"],
    ),
    "rename an author": lambda w, r: w.all(Author).filter(pk=w.bob.pk).update(name=r.choice(["Bob", "Abby"])),
    "new author": lambda w, r: w.new(Author, name="Ann"),
    "delete a comment": lambda w, r: w.all(Comment).order_by("pk").filter(pk__gt=r.randrange(9)).delete(),
    "delete a post": lambda w, r: w.all().exclude(pk__in=[w.one.pk, w.two.pk, w.three.pk]).delete(),
    "delete a category": lambda w, r: [c.delete() for c in w.all(Category).filter(pk__gt=w.art.pk)],
    "new category": lambda w, r: w.all().filter(pk=w.two.pk).update(category=w.new(Category, name="x")),
    "tag": lambda w, r: some(Post, w, r).tags.add(w.red),
    "untag": lambda w, r: some(Post, w, r).tags.remove(w.red),
    "set tags": lambda w, r: some(Post, w, r).tags.set([w.green]),
    "clear tags": lambda w, r: some(Post, w, r).tags.clear(),
    "unrelated": lambda w, r: w.new(type(w.club), name="go"),
    "sql": lambda w, r: w.execute("UPDATE testapp_post SET views = views + 1 WHERE title = %s", ["two"]),
    "sql on comments": lambda w, r: w.execute("DELETE FROM testapp_comment WHERE text = 'first'"),
    "get or create": lambda w, r: w.all(Comment).get_or_create(
        post=w.two, text=r.choice(["once", "x"]), defaults={"created": START}
    ),
}  # fmt: skip


class Undo(Exception):
    """Rolls back."""


class Layercache:
    """How the oracle uses the library. ``benchmarks`` has the same for others."""

    def ask(self, read, *args):
        """The answer through the cache, and whether it came from there."""
        with trace() as events:
            answer = cached(read, *args)
        return answer, all(event.outcome == "hit" for event in events)

    def truth(self, read, *args):
        """The answer of the database."""
        return uncached(read, *args)


class Oracle:
    """Asks the cache and the database, and keeps account of misses that were needless."""

    def __init__(self, world, queries, caching=None):
        self.world = world
        self.queries = queries
        self.caching = caching or Layercache()
        self.answers = {}
        self.count = Counter()

    def wrong(self, names=None):
        return [name for name in names or self.queries if self._ask(name)[0] != self._truth(name)]

    def compare(self):
        """Ask everything, twice."""
        wrong = []
        for name in self.queries:
            truth = self._truth(name)
            first, was_hit = self._ask(name)
            second, is_hit = self._ask(name)
            if first != truth or second != truth:
                wrong.append(name)
            self.count["asked"] += 1
            self.count["hit the second time"] += is_hit
            self.count["needless"] += not was_hit and self.answers.get(name) == truth
            self.answers[name] = truth
        return wrong

    def _ask(self, name):
        return self.caching.ask(QUERIES[name], self.world)

    def _truth(self, name):
        return self.caching.truth(QUERIES[name], self.world)


def in_some_way(way, write, w, r, sample, oracle):
    """Write; where there is a transaction, look inside it. Returns what was wrong there."""
    if way == "autocommit":
        write(w, r)
    elif way == "elsewhere":
        elsewhere(write, w, r)
    elif way == "atomic":
        with transaction.atomic(w.alias):
            write(w, r)
            return oracle.wrong(sample)
    elif way == "rollback":
        try:
            with transaction.atomic(w.alias):
                write(w, r)
                wrong = oracle.wrong(sample)
                raise Undo
        except Undo:
            return wrong
    else:
        with transaction.atomic(w.alias):
            try:
                with transaction.atomic(w.alias):
                    write(w, r)
                    wrong = oracle.wrong(sample)
                    raise Undo
            except Undo:
                return wrong + oracle.wrong(sample)
    return []


WAYS = ("autocommit", "atomic", "rollback", "savepoint", "elsewhere")
