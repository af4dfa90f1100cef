"""System checks of the near tier's settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Warn

from django_layercache import conf
from django_layercache.checks_of_values import one_of
from django_layercache.exceptions import InvalidSetting
from django_layercache.handlers import FRESHNESS, make_store, with_near_tier

__all__ = ["check_near"]

_OPTIONS = {"freshness", "max_bytes"}
_SNAPSHOTS = {
    f"django_layercache.middleware.{name}"
    for name in ("LayerCacheMiddleware", "TokenSnapshotMiddleware")
}


def check_near(**kwargs: Any) -> list[CheckMessage]:
    """Wrong values in ``LAYERCACHE["NEAR"]``, and those that are of no use."""
    options = conf.get("NEAR")
    if options is None:
        return []
    wrong = list(_wrong(options))
    return wrong or list(_useless(options.get("freshness")))


def _wrong(options: Any) -> Iterator[CheckMessage]:
    if not isinstance(options, Mapping) or not options.keys() <= _OPTIONS:
        yield _error(
            "",
            options,
            "None, or a dictionary with at most 'freshness' and 'max_bytes' in it",
        )
        return
    freshness, max_bytes = options.get("freshness", "strict"), options.get("max_bytes", 1)
    if not isinstance(freshness, str) or freshness not in FRESHNESS:
        yield _error("['freshness']", freshness, one_of(FRESHNESS))
    if type(max_bytes) is not int or max_bytes <= 0:
        yield _error("['max_bytes']", max_bytes, "a number of bytes greater than 0")


def _error(where: str, value: Any, what: str) -> CheckMessage:
    message = f"LAYERCACHE['NEAR']{where} is {value!r}."
    return Error(message, hint=f"It is {what}.", id="layercache.E014")


def _useless(freshness: Any) -> Iterator[CheckMessage]:
    if conf.get("CACHE") is None:
        yield Warn(
            "LAYERCACHE['NEAR'] is set, and the store is in this process already.",
            hint="Leave it away, or name the shared store in LAYERCACHE['CACHE'].",
            id="layercache.W004",
        )
    elif freshness == "pushed":
        yield from _unable()
    elif freshness == "request" and _SNAPSHOTS.isdisjoint(settings.MIDDLEWARE or ()):
        yield Warn(
            "LAYERCACHE['NEAR']['freshness'] is 'request', and nothing says where a request begins. "
            "Until something does it is as good as 'strict'.",
            hint="Put django_layercache.middleware.TokenSnapshotMiddleware first in MIDDLEWARE.",
            id="layercache.W005",
        )


def _unable() -> Iterator[CheckMessage]:
    try:
        store = make_store(longest_grace=0)
    except Exception:  # the check of CACHE says so
        return
    try:
        store = with_near_tier(store)
    except InvalidSetting as error:
        hint = "Choose 'strict' or 'request', or a Redis server for the store."
        yield Error(str(error), hint=hint, id="layercache.E017")
    finally:
        store.close()
