"""A small blog: the models that the tests and the examples of the documentation speak of."""

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone


class Author(models.Model):
    """Somebody who writes."""

    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Category(models.Model):
    """What a post is about, in one word."""

    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Tag(models.Model):
    """What a post is about, in several."""

    name = models.CharField(max_length=100, unique=True)

    def __str__(self):
        return self.name


class Post(models.Model):
    """What somebody has written."""

    author = models.ForeignKey(Author, models.CASCADE, related_name="posts")
    category = models.ForeignKey(
        Category, models.SET_NULL, null=True, blank=True, related_name="posts"
    )
    tags = models.ManyToManyField(Tag, blank=True, related_name="posts")
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    published = models.DateTimeField(default=timezone.now)
    views = models.IntegerField(default=0)

    def __str__(self):
        return self.title


class Comment(models.Model):
    """What somebody else says about it."""

    post = models.ForeignKey(Post, models.CASCADE, related_name="comments")
    text = models.TextField()
    created = models.DateTimeField(default=timezone.now)

    def __str__(self):
        return self.text


# -- kinds of models that a query's dependencies have to cope with -----------------------------------------------
class LoudAuthor(Author):
    """An author under another name: no table of its own."""

    class Meta:
        proxy = True


class Profile(models.Model):
    """What there is to say about an author: its primary key is the author's."""

    author = models.OneToOneField(Author, models.CASCADE, primary_key=True, related_name="profile")
    motto = models.CharField(max_length=200)


class Work(models.Model):
    """Something with a title: the table above those of books."""

    title = models.CharField(max_length=200)
    notes = GenericRelation("testapp.Note")


class Book(Work):
    """A work with pages, in two tables."""

    pages = models.IntegerField(default=0)


class Folder(models.Model):
    """A tree."""

    name = models.CharField(max_length=100)
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")
    friends = models.ManyToManyField("self")


class Club(models.Model):
    """Authors who meet."""

    name = models.CharField(max_length=100)
    members = models.ManyToManyField(Author, through="Membership", related_name="clubs")


class Membership(models.Model):
    """That an author is in a club, and since when."""

    club = models.ForeignKey(Club, models.CASCADE)
    author = models.ForeignKey(Author, models.CASCADE)
    since = models.IntegerField(default=2000)


class Note(models.Model):
    """A remark on anything."""

    # This app has no migrations: its tables are made before those of the apps that have some.
    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.PositiveBigIntegerField()
    subject = GenericForeignKey()
    text = models.TextField()


class Ticket(models.Model):
    """Numbered by nobody."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    text = models.TextField()


class Country(models.Model):
    """Known by a code."""

    code = models.CharField(max_length=8, primary_key=True)
    name = models.CharField(max_length=100)


class Named(models.Manager):
    """Hides what has no name, and has no ``objects`` beside it."""

    def get_queryset(self):
        return super().get_queryset().exclude(name="")


class Fund(models.Model):
    """Money, kept by a manager of its own."""

    name = models.CharField(max_length=100, blank=True)
    amount = models.DecimalField(max_digits=12, decimal_places=2)

    named = Named()


class Busy(models.Model):
    """A view, made by the tests that want it."""

    author = models.OneToOneField(Author, models.DO_NOTHING, primary_key=True)
    posts = models.IntegerField()

    class Meta:
        managed = False
        db_table = "testapp_busy"


class Meter(models.Model):
    """Columns with odd names, and one that the database computes."""

    reading = models.IntegerField(default=0)
    doubled = models.GeneratedField(
        expression=models.F("reading") * 2, output_field=models.IntegerField(), db_persist=True
    )
    note = models.CharField(max_length=100, db_column="a.note=1")
    label = models.CharField(max_length=100, db_column="étiquette")
    comment = models.CharField(max_length=100, default="")
    changed = models.IntegerField(default=0)


class Loose(models.Model):
    """Refers to authors in ways that no database vouches for."""

    unchecked = models.ForeignKey(
        Author, models.CASCADE, null=True, db_constraint=False, related_name="+"
    )
    ignored = models.ForeignKey(Author, models.DO_NOTHING, null=True, related_name="+")


class Stamped(models.ForeignKey):
    """Says itself whom it refers to."""

    now = None

    def pre_save(self, model_instance, add):
        return self.now


class Medal(models.Model):
    """Whose it is, is said on the way to the database; what it is called, there."""

    number = models.IntegerField(default=0)
    slug = models.SlugField(unique=True, null=True)
    author = Stamped(Author, models.CASCADE, null=True, related_name="+")


if hasattr(models, "DB_CASCADE"):  # Django 6.1

    class Shelf(models.Model):
        """The database itself deletes what stands on it."""

        name = models.CharField(max_length=100)

    class Volume(models.Model):
        """Stands on a shelf; its parts are deleted, its sequels orphaned by the database."""

        shelf = models.ForeignKey(Shelf, models.DB_CASCADE, null=True, related_name="volumes")
        whole = models.ForeignKey("self", models.DB_CASCADE, null=True, related_name="parts")
        before = models.ForeignKey("self", models.DB_SET_NULL, null=True, related_name="sequels")
        name = models.CharField(max_length=100)

    class Leaflet(models.Model):
        """Put into another volume by the database when its own goes."""

        volume = models.ForeignKey(Volume, models.DB_SET_DEFAULT, db_default=1)
