"""What each kind of write does to each kind of query: the matrix is a promise, in both directions.

``x``: the answer changes, and must be another one. ``.``: the answer stays, and must be served from
the cache. ``o``: it stays, and may be rebuilt all the same: why is said in
``docs/explanation/dependencies.md``. A cell that becomes better fails, too: tell the world.
"""

import pytest
from django.db.models import Count, F

from django_layercache import invalidate, trace
from tests.querysets.conftest import POSTGRES, SQLITE, use_store
from tests.querysets.world import START, World, cached, uncached
from tests.testapp.models import Author, Category, Comment, Post, Tag

READS = {
    "row": lambda w: w.all().get(pk=w.one.pk),
    "rows": lambda w: list(w.all().filter(pk__in=[w.one.pk, w.two.pk]).order_by("pk")),
    "no such row": lambda w: w.all().filter(pk=10**6).first(),
    "row, author": lambda w: [[p, p.author] for p in w.all().select_related("author").filter(pk=w.one.pk)],
    "by title": lambda w: w.all().get(title="one"),
    "list": lambda w: list(w.all().order_by("pk")),
    "popular": lambda w: list(w.all().filter(views__gt=2).order_by("pk")),
    "of ada": lambda w: list(w.all().filter(author=w.ada).order_by("pk")),
    "count": lambda w: w.all().count(),
    "count of ada": lambda w: w.all().filter(author=w.ada).count(),
    "titles": lambda w: list(w.all().order_by("title").values_list("title", flat=True)),
    "with authors": lambda w: list(w.all().order_by("pk").values("title", "author__name")),
    "of name": lambda w: list(w.all().filter(author__name="Ada").order_by("pk").values("title")),
    "comments": lambda w: list(w.all(Comment).filter(post=w.one).order_by("pk")),
    "commented": lambda w: w.all().filter(pk=w.one.pk).annotate(n=Count("comments")).values_list("title", "n").get(),
    "tags": lambda w: sorted(tag.name for tag in w.one.tags.all()),
    "prefetched": lambda w: [
        sorted(tag.name for tag in post.tags.all())
        for post in w.all().filter(pk=w.one.pk).prefetch_related("tags")
    ],
    "tagged": lambda w: list(w.all().filter(tags=w.green).order_by("title").values_list("title")),
    "authors": lambda w: list(w.all(Author).order_by("pk")),
    "writing": lambda w: list(w.all(Author).annotate(n=Count("posts")).order_by("pk").values("name", "n")),
}  # fmt: skip


def set_views(post, views):
    post.views = views
    post.save(update_fields=["views"])


def save(post, **values):
    for name, value in values.items():
        setattr(post, name, value)
    post.save()


WRITES = {
    "new post of ada": lambda w: w.new(Post, author=w.ada, title="new", views=9, published=START),
    "new post of bob": lambda w: w.new(Post, author=w.bob, title="new", views=0, published=START),
    "views of one": lambda w: set_views(w.one, 7),
    "views of three": lambda w: set_views(w.three, 8),
    "update views of three": lambda w: w.all().filter(pk=w.three.pk).update(views=9),
    "title of three": lambda w: w.all().filter(pk=w.three.pk).update(title="3"),
    "save three": lambda w: save(w.three, body="text"),
    "views of all": lambda w: w.all().update(views=F("views") + 10),
    "views of bob's": lambda w: w.all().filter(author=w.bob).update(views=11),
    "delete three": lambda w: w.all().filter(pk=w.three.pk).delete(),
    "rename ada": lambda w: w.all(Author).filter(pk=w.ada.pk).update(name="Adele"),
    "rename bob": lambda w: w.all(Author).filter(pk=w.bob.pk).update(name="Rob"),
    "new author": lambda w: w.new(Author, name="Eve"),
    "comment on one": lambda w: w.new(Comment, post=w.one, text="x", created=START),
    "comment on three": lambda w: w.new(Comment, post=w.three, text="x", created=START),
    "tag one": lambda w: w.one.tags.add(w.green),
    "tag three": lambda w: w.three.tags.add(w.green),
    "new tag": lambda w: w.new(Tag, name="blue"),
    "new category": lambda w: w.new(Category, name="other"),
    "raw": lambda w: w.execute("UPDATE testapp_comment SET text = 'y'"),
}  # fmt: skip

#: A letter for each of ``READS``, in their order.
MATRIX = {
    "new post of ada":        "..o.oxxxxxxxx......x",
    "new post of bob":        "..o.oxo.x.xxo......x",
    "views of one":           "xx.xxxxx......o.o...",
    "views of three":         ".....xx.............",
    "update views of three":  ".....xx.............",
    "title of three":         "....oxx...xxo....o..",
    "save three":             ".....xx.............",
    "views of all":           "xxoxxxxx......o.o...",
    "views of bob's":         "oooooxxo......o.o...",
    "delete three":           "..o.oxxoxoxxoo.....x",
    "rename ada":             "...x.......xx.....xx",
    "rename bob":             "...........xo.....xx",
    "new author":             "..................xx",
    "comment on one":         ".............xx.....",
    "comment on three":       "....................",
    "tag one":                "...............xxx..",
    "tag three":              ".................x..",
    "new tag":                "....................",
    "new category":           "....................",
    "raw":                    ".............xo.....",
}  # fmt: skip


def test_the_matrix_has_a_letter_for_each_pair():
    assert MATRIX.keys() == WRITES.keys()
    assert {len(letters) for letters in MATRIX.values()} == {len(READS)}


def observed(write, world):
    """What *write* does to each of the queries."""
    world.look_for_triggers()
    before = {name: uncached(read, world) for name, read in READS.items()}
    for model in (Post, Author, Comment, Tag):
        # A tag that nobody had asked for counts from the second time on.
        [cached(read, world) for read in READS.values()]
        invalidate(model, using=world.alias)
    [cached(read, world) for read in READS.values()]
    assert {name: outcome(read, world) for name, read in READS.items()} == dict.fromkeys(
        READS, "hit"
    )
    WRITES[write](world)
    cells = {}
    for name, read in READS.items():
        is_hit = outcome(read, world) == "hit"
        now = uncached(read, world)
        assert cached(read, world) == now, f"{name} is stale after {write}"
        cells[name] = "." if is_hit else "x" if now != before[name] else "o"
    return cells


def outcome(read, world):
    with trace() as events:
        cached(read, world)
    return "hit" if all(event.outcome == "hit" for event in events) else "miss"


@pytest.mark.parametrize(
    ("alias", "store"),
    (
        pytest.param("default", "local", marks=SQLITE.marks, id="sqlite-local"),
        pytest.param("postgres", "redis", marks=POSTGRES.marks, id="postgres-redis"),
    ),
)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_changes_what_it_must_and_nothing_else(alias, store, write, request, settings):
    use_store(request, settings, store)
    assert observed(write, World(alias)) == dict(zip(READS, MATRIX[write], strict=True))
