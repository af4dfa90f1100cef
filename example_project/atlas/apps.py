"""The atlas app."""

from django.apps import AppConfig


class AtlasConfig(AppConfig):
    """Models, pages and cached functions of the site."""

    name = "atlas"
    verbose_name = "Atlas"
