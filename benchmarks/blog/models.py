"""A small blog, with the types of columns that blogs have."""

import uuid

from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=100)
    joined = models.DateField()

    def __str__(self):
        return self.name


class Category(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)

    def __str__(self):
        return self.name


class Post(models.Model):
    author = models.ForeignKey(Author, models.CASCADE, related_name="posts")
    category = models.ForeignKey(Category, models.CASCADE, related_name="posts")
    title = models.CharField(max_length=200)
    body = models.TextField()
    reference = models.UUIDField(default=uuid.uuid4)
    published_at = models.DateTimeField(db_index=True)
    rating = models.DecimalField(max_digits=4, decimal_places=2)
    views = models.IntegerField(default=0)
    is_public = models.BooleanField(default=True)
    subtitle = models.CharField(max_length=200, null=True)  # noqa: DJ001 - NULLs are measured, too

    def __str__(self):
        return self.title


class Comment(models.Model):
    post = models.ForeignKey(Post, models.CASCADE, related_name="comments")
    author = models.CharField(max_length=100)
    text = models.TextField()
    written_at = models.DateTimeField()

    def __str__(self):
        return self.text
