"""The tables in which each tenant has rows of its own: those of ``TENANT_MODELS``."""

from collections.abc import Iterable

from django.apps import apps
from django.db.models import Model

from django_layercache import conf
from django_layercache.tags import table_name

__all__ = ["has_tenants"]


def has_tenants(table: str) -> bool:
    """Whether *table*, as it stands in tags, is one of them."""
    return table in _tables()


_latest: tuple[object, object, frozenset[str]] | None = None


def _tables() -> frozenset[str]:
    global _latest
    models = apps.get_models(include_auto_created=True)  # the same list, until the registry changes
    names = conf.get("TENANT_MODELS")
    if _latest is None or _latest[0] is not models or _latest[1] is not names:
        _latest = models, names, frozenset(_tables_of(models, names))
    return _latest[2]


def _tables_of(models: Iterable[type[Model]], names: Iterable[str]) -> Iterable[str]:
    if conf.get("TENANT") is None:
        return
    wanted = {str(name).lower() for name in names}
    for model in models:
        meta = model._meta
        if not wanted.isdisjoint({meta.label_lower, f"{meta.app_label}.*"}):
            yield table_name(meta.db_table)
