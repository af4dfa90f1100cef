"""The tenant for whom the present code runs, as the project tells."""

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from django.utils.module_loading import import_string

from django_layercache import conf

__all__ = ["current"]

_PLAIN = re.compile(r"[a-z0-9_.-]{1,48}")


def current() -> str:
    """The tenant, as it stands in keys and tags; empty if there is none, or the project has no tenants."""
    source = conf.get("TENANT")
    if source is None:
        return ""
    told = (source if callable(source) else _imported(source))()
    return "" if told is None else _spelt(str(told))


@lru_cache(maxsize=16)
def _imported(path: str) -> Callable[[], Any]:
    return cast("Callable[[], Any]", import_string(path))


@lru_cache(maxsize=4096)
def _spelt(tenant: str) -> str:
    if _PLAIN.fullmatch(tenant):
        return tenant
    data = tenant.encode("utf-8", "surrogatepass")
    return f"~{hashlib.blake2b(data, digest_size=12).hexdigest()}"
