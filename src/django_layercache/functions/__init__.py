"""The layer of functions: what they return is kept, and forgotten when what they read has changed."""

from django_layercache.functions.decorated import AsyncCachedFunction, CachedFunction, decorate

__all__ = ["AsyncCachedFunction", "CachedFunction", "decorate"]
