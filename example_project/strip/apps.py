"""The strip app: a middleware and a template."""

from django.apps import AppConfig


class StripConfig(AppConfig):
    """Shows on each page what the layers did for it."""

    name = "strip"
