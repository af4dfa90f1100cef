"""The tables in which each tenant has rows of its own: those of ``TENANT_MODELS``."""

from collections.abc import Iterable

from django_layercache import conf
from django_layercache.querysets.tables import Models, of_all_models
from django_layercache.tags import table_name

__all__ = ["tables_of_tenants"]


def _tables_of(models: Models, names: Iterable[str]) -> frozenset[str]:
    if conf.get("TENANT") is None:
        return frozenset()
    wanted = {str(name).lower() for name in names}
    return frozenset(
        table_name(model._meta.db_table)
        for model in models
        if not wanted.isdisjoint({model._meta.label_lower, f"{model._meta.app_label}.*"})
    )


#: As they stand in tags.
tables_of_tenants = of_all_models(lambda: conf.get("TENANT_MODELS"), _tables_of)
