from django.apps import AppConfig


class BlogConfig(AppConfig):
    """The application `blog`, whose tables are `blog_...`."""

    name = "tests.blog"
    label = "blog"
