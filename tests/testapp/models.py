"""A small blog: the models that the tests and the examples of the documentation speak of."""

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
