"""Caching for Django in layers, kept fresh by one invalidation engine."""

from django_layercache.decorators import cache_view, cached
from django_layercache.engine import Event, trace
from django_layercache.querysets.by_hand import (
    adepends_on,
    ainvalidate,
    depends_on,
    invalidate,
    no_cache,
)
from django_layercache.querysets.explaining import Explanation
from django_layercache.querysets.policies import cached_queries
from django_layercache.stores.near_request import token_snapshot

__all__ = [
    "Event",
    "Explanation",
    "adepends_on",
    "ainvalidate",
    "cache_view",
    "cached",
    "cached_queries",
    "depends_on",
    "invalidate",
    "no_cache",
    "token_snapshot",
    "trace",
]
