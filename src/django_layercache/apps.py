"""The app: nothing is patched, connected or read before :meth:`LayerCacheConfig.ready`."""

from django.apps import AppConfig

__all__ = ["LayerCacheConfig"]


class LayerCacheConfig(AppConfig):
    """``INSTALLED_APPS = ["django_layercache", ...]``."""

    name = "django_layercache"
    verbose_name = "Layer cache"
    default_auto_field = "django.db.models.BigAutoField"
