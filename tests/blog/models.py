"""The models that the documentation speaks of (docs/tutorial/first-steps.md prints them)."""

from django.db import models


class Author(models.Model):
    """Somebody who writes."""

    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Post(models.Model):
    """What somebody has written."""

    author = models.ForeignKey(Author, models.CASCADE, related_name="posts")
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)

    def __str__(self):
        return self.title


class Comment(models.Model):
    """What somebody else says about it."""

    post = models.ForeignKey(Post, models.CASCADE, related_name="comments")
    text = models.TextField()

    def __str__(self):
        return self.text
