"""The settings: one dictionary, ``settings.LAYERCACHE``, read anew whenever it changes.

Nothing here validates: a wrong value is reported by the system checks
(:mod:`django_layercache.checks`), once, with a hint.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

__all__ = ["DEFAULTS", "SETTING", "get", "mapping", "user_settings"]

SETTING = "LAYERCACHE"

DEFAULTS: Mapping[str, Any] = {
    "CACHE": None,
    "COMPRESS_FROM": 16 * 1024,
    "DATABASES": {},
    "ENABLED": True,
    "FAILOVER_REPLICAS": 1,
    "GRACE": 1,
    "JITTER": 0.1,
    "LEASE": 30,
    "MAX_BYTES": 64 * 1024 * 1024,
    "MAX_ENTRY_BYTES": 1024 * 1024,
    "MODELS": {},
    "NAMESPACE": "",
    "NEAR": None,
    "ON_FAILOVER": "drop",
    "ON_OUTAGE": "outbox",
    "PROCEDURES": {},
    "TENANT": None,
    "TENANT_MODELS": [],
    "TIMEOUT": 300,
}


_latest: Mapping[str, Any] | None = None
_mappings: dict[str, Mapping[str, Any]] = {}


def user_settings() -> Mapping[str, Any]:
    """What the project wrote, or an empty mapping; never an error, whatever it wrote."""
    global _latest
    if _latest is None:
        value = getattr(settings, SETTING, None)
        _latest = value if isinstance(value, Mapping) else {}
    return _latest


def get(name: str) -> Any:
    """The value in force for *name*, one of :data:`DEFAULTS`."""
    return user_settings().get(name, DEFAULTS[name])


def mapping(name: str) -> Mapping[str, Any]:
    """The value in force for *name*, which should be a mapping; an empty one if it is not.

    The same object, until the settings change.
    """
    found = _mappings.get(name)
    if found is None:
        value = get(name)
        found = _mappings[name] = value if isinstance(value, Mapping) else {}
    return found


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    global _latest
    if setting == SETTING:
        _latest = None
        _mappings.clear()


setting_changed.connect(_on_setting_changed, dispatch_uid="django_layercache.conf")
