"""The showcase app: the `demo` command and the lab page."""

from django.apps import AppConfig


class ShowcaseConfig(AppConfig):
    """Measures the layers, and shows what an edit makes them rebuild."""

    name = "showcase"
