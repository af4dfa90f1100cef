"""The methods that querysets and managers get."""

from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import sync_to_async

from django_layercache.querysets import policies
from django_layercache.querysets.explaining import Explanation, explain
from django_layercache.timeouts import DEFAULT, Timeout, checked_timeout

__all__ = ["PUBLIC"]


def cached(self: Any, timeout: Timeout = DEFAULT) -> Any:
    """Cache the rows of this queryset for *timeout* seconds (``None``: for ever), fresh as ever."""
    return _with_policy(self, policies.Policy(".cached()", checked_timeout(timeout)))


def no_cache(self: Any) -> Any:
    """Ask the database each time, whatever a block or the settings say, and store nothing."""
    return _with_policy(self, policies.NOT_CACHED)


def explain_cache(self: Any) -> Explanation:
    """What the cache would do if this queryset were evaluated now. Its query is not run."""
    return explain(self)


async def aexplain_cache(self: Any) -> Explanation:
    """:meth:`explain_cache` for async code."""
    return await sync_to_async(explain)(self)


def _with_policy(queryset: Any, policy: policies.Policy) -> Any:
    clone = queryset._chain()
    policies.set_policy(clone.query, policy)
    return clone


PUBLIC: Final[tuple[Callable[..., Any], ...]] = (cached, no_cache, explain_cache, aexplain_cache)
