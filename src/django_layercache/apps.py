"""The app: nothing is patched, connected or read before :meth:`LayerCacheConfig.ready`."""

from django.apps import AppConfig

__all__ = ["LayerCacheConfig"]


class LayerCacheConfig(AppConfig):
    """``INSTALLED_APPS = ["django_layercache", ...]``."""

    name = "django_layercache"
    verbose_name = "Layer cache"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_layercache import tags
        from django_layercache.checks import register_checks
        from django_layercache.handlers import engines
        from django_layercache.querysets import seams
        from django_layercache.querysets.isolation import current_isolation, sees_snapshot
        from django_layercache.querysets.outbox import DatabaseOutbox
        from django_layercache.querysets.postgres import PostgresTransactions
        from django_layercache.querysets.tenanted import tables_of_tenants

        engines.parts.update(
            isolation=current_isolation,
            outbox=DatabaseOutbox(),
            transactions=PostgresTransactions.of_settings(),
        )
        engines.sees_snapshot = sees_snapshot
        tags.let_tenants_have(tables_of_tenants)
        seams.install()
        register_checks()
