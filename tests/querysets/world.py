"""What the tests of the queryset layer read and write, and how they look at it."""

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from django.db import connections, models, transaction

from django_layercache import cached_queries, no_cache, trace
from tests.testapp.models import (
    Author,
    Book,
    Category,
    Club,
    Comment,
    Country,
    Folder,
    Membership,
    Note,
    Post,
    Profile,
    Tag,
    Ticket,
    Work,
)  # fmt: skip

START = datetime(2024, 1, 31, 12, tzinfo=UTC)


class World:
    """A blog with two authors, three posts and what goes with them, on one database alias."""

    def __init__(self, alias):
        self.alias = alias
        with transaction.atomic(alias):
            self._fill()

    def _fill(self):
        self.ada = self.new(Author, name="Ada")
        self.bob = self.new(Author, name="Bob")
        self.news = self.new(Category, name="news")
        self.art = self.new(Category, name="art")
        self.red, self.green = self.new(Tag, name="red"), self.new(Tag, name="green")
        self.one = self._post(self.ada, self.news, "one", 1)
        self.two = self._post(self.ada, None, "two", 2)
        self.three = self._post(self.bob, self.art, "three", 3)
        self.one.tags.add(self.red)
        self.two.tags.add(self.red, self.green)
        self.comment = self.new(Comment, post=self.one, text="first", created=START)
        self.new(Comment, post=self.three, text="second", created=START)
        self.profile = self.new(Profile, author=self.ada, motto="onwards")
        self.book = self.new(Book, title="a book", pages=10)
        self.work = self.new(Work, title="a work")
        self.root = self.new(Folder, name="root")
        self.leaf = self.new(Folder, name="leaf", parent=self.root)
        self.root.friends.add(self.leaf)
        self.club = self.new(Club, name="chess")
        self.new(Membership, club=self.club, author=self.ada, since=1999)
        self.note = Note(subject=self.work, text="a note")
        self.note.save(using=self.alias)
        self.ticket = self.new(Ticket, text="a ticket")
        self.country = self.new(Country, code="FR", name="France")

    def _post(self, author, category, title, views):
        published = START + timedelta(days=views)
        return self.new(
            Post, author=author, category=category, title=title, views=views, published=published
        )

    def new(self, model, **fields):
        return model._base_manager.using(self.alias).create(**fields)

    def all(self, model=Post):
        return model._base_manager.using(self.alias)

    def fresh(self, instance):
        """*instance* as the database has it, read past every cache."""
        with no_cache():
            return self.all(type(instance)).get(pk=instance.pk)

    def look_for_triggers(self):
        """Have it asked which tables have triggers: until then every one may have some."""
        self.all().filter(pk=0).update(views=0)

    @property
    def connection(self):
        return connections[self.alias]

    def execute(self, sql, params=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)


def plain(value):
    """*value*, whatever a queryset gave, as something that can be compared and printed."""
    if isinstance(value, models.Model):
        fields = {
            field.attname: plain(value.__dict__[field.attname])
            for field in value._meta.concrete_fields
            if field.attname in value.__dict__
        }
        return (type(value).__name__, fields)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, models.QuerySet)):
        return [plain(item) for item in value]
    return value


def uncached(read, *args):
    """The answer of the database itself."""
    with no_cache():
        return plain(read(*args))


def cached(read, *args):
    """The answer through the cache."""
    with cached_queries():
        return plain(read(*args))


def outcomes(read, *args):
    """What the queryset layer made of each query of *read*: ``["hit", "miss", ...]``."""
    with trace() as events:
        cached(read, *args)
    return [event.outcome for event in events if event.layer == "querysets"]


def tags_of(read, *args):
    """The readable tags that the queries of *read* depend on, without that of the database itself."""
    with trace() as events:
        cached(read, *args)
    return {tag for event in events for tag in event.tags} - {"(database)"}


def is_hit(read, *args):
    return set(outcomes(read, *args)) == {"hit"}


def warm(read, *args):
    """Ask once so that the next ask is a hit, and prove it."""
    value = cached(read, *args)
    assert is_hit(read, *args), f"not cached: {read}"
    return value


def elsewhere(function, *args):
    """What *function* returns in another thread, that is, on other connections."""
    results, errors = [], []

    def run():
        try:
            results.append(function(*args))
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "the other thread hangs"
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def manual_commits(connection):
    """``set_autocommit(False)`` for the length of the block."""
    connection.set_autocommit(False)
    try:
        yield
    finally:
        connection.rollback()
        connection.set_autocommit(True)
