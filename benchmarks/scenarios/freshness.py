"""Is what is read after a commit ever from before it? A few ways to commit, each tried once.

The proof that this library keeps its promise is in ``tests/``. This is for the table: a fast answer that is
out of date is not worth much.
"""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from benchmarks.blog.models import Author, Post
from benchmarks.contenders import Contender

_AUTHOR = 11


def check(contender: Contender) -> dict[str, bool]:
    """For each way to write: whether the next read was fresh."""
    return {title: way(contender, number) for number, (title, way) in enumerate(WAYS.items())}


def _read(contender: Contender) -> list[str]:
    def build() -> list[str]:
        return list(Post.objects.filter(author_id=_AUTHOR).values_list("title", flat=True))

    return contender.value("freshness", build)


def _after(write: Callable[[str], Any]) -> Callable[[Contender, int], bool]:
    def way(contender: Contender, number: int) -> bool:
        _read(contender)
        _read(contender)
        title = f"Changed {number}"
        write(title)
        return title in _read(contender)

    return way


def _one() -> Post:
    return Post.objects.select_related(None).filter(author_id=_AUTHOR).order_by("pk")[:1].get()


def _save(title: str) -> None:
    post = _one()
    post.title = title
    post.save()


def _save_in_transaction(title: str) -> None:
    with transaction.atomic():
        _save(title)


def _update(title: str) -> None:
    Post.objects.filter(author_id=_AUTHOR).update(title=title)


def _bulk_update(title: str) -> None:
    post = _one()
    post.title = title
    Post.objects.bulk_update([post], ["title"])


def _by_cursor(title: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE blog_post SET title = %s WHERE author_id = %s", [title, _AUTHOR])


def _related(contender: Contender, number: int) -> bool:
    def read() -> list[str]:
        posts = Post.objects.filter(author_id=_AUTHOR).select_related("author")
        return contender.value("related", lambda: [post.author.name for post in posts])

    read()
    author = Author.objects.get(pk=_AUTHOR)
    author.name = f"Renamed {number}"
    author.save()
    return author.name in read()


def _subquery(contender: Contender, number: int) -> bool:
    def read() -> int:
        wanted = Author.objects.filter(name=f"Sought {number}").values("pk")
        return contender.value(
            "subquery", lambda: Post.objects.filter(author_id__in=wanted).count()
        )

    read()
    author = Author.objects.get(pk=_AUTHOR)
    author.name = f"Sought {number}"
    author.save()
    return read() > 0


def _on_commit(contender: Contender, number: int) -> bool:
    seen: list[list[str]] = []
    _read(contender)
    with transaction.atomic():
        transaction.on_commit(lambda: seen.append(_read(contender)))
        _save(f"Changed {number}")
    return f"Changed {number}" in seen[0]


def _rolled_back(contender: Contender, number: int) -> bool:
    """What was read inside a transaction that rolled back must not stay."""
    _read(contender)
    try:
        with transaction.atomic():
            _save(f"Changed {number}")
            _read(contender)
            raise LookupError
    except LookupError:
        pass
    return f"Changed {number}" not in _read(contender)


def _race(contender: Contender, number: int) -> bool:
    """Somebody commits between the query and the storing of its result."""
    title = f"Changed {number}"
    pending = [title]

    def meanwhile(execute: Any, sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if pending and sql.startswith("SELECT"):
            writer = threading.Thread(target=_write_elsewhere, args=(pending.pop(),))
            writer.start()
            writer.join()
        return result

    _update(f"Before {number}")  # so that there is something to build
    with connection.execute_wrapper(meanwhile):
        _read(contender)
    return title in _read(contender)


def _write_elsewhere(title: str) -> None:
    try:
        _save(title)
    finally:
        connection.close()


WAYS: dict[str, Callable[[Contender, int], bool]] = {
    "save()": _after(_save),
    "save() in atomic()": _after(_save_in_transaction),
    "update()": _after(_update),
    "bulk_update()": _after(_bulk_update),
    "UPDATE by a cursor": _after(_by_cursor),
    "a row that is joined": _related,
    "a row of a subquery": _subquery,
    "read in on_commit()": _on_commit,
    "read in what is rolled back": _rolled_back,
    "commit while it is read": _race,
}
