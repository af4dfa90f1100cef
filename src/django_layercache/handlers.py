"""From settings to the engine: the only place where the two meet.

The engine is made when it is first asked for, and made anew when a setting that it was made
from changes (test suites do that).
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.conf import Settings, UserSettingsHolder, settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_layercache import conf, tenants
from django_layercache.aliases import (
    client_of,
    is_cluster,
    is_exact,
    objection_to,
    pool_of,
    servers_of,
)
from django_layercache.engine import Engine
from django_layercache.exceptions import InvalidSetting
from django_layercache.forks import renewed_in_children
from django_layercache.stores.base import Store
from django_layercache.stores.django import BoundedStore
from django_layercache.stores.local import LocalStore
from django_layercache.stores.memcached import MemcachedStore
from django_layercache.stores.near import Known, NearStore, NothingKnown
from django_layercache.stores.near_request import RequestTokens

__all__ = ["EngineHandler", "get_engine", "namespace_in_force", "pool_of"]

#: The near tier's levels of freshness.
FRESHNESS = ("strict", "request", "pushed")
#: What a near tier's entries may take, if the settings say nothing.
NEAR_BYTES = 64 * 1024 * 1024

#: How long the first one who asks for the engine waits for the outbox to be read, in seconds.
FIRST_PATIENCE = 5.0
#: The same on an event loop, where nobody else comes by meanwhile. Until it is read, everything is built.
FIRST_PATIENCE_ON_A_LOOP = 0.25


class EngineHandler:
    """The engine of this process.

    ``parts`` are arguments for :class:`~django_layercache.engine.Engine` that floors above
    provide at start-up: *isolation*, *outbox* and *transactions*.
    """

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}
        #: Whether a transaction of the reader's sees an older state than the store's; from above, too.
        self.sees_snapshot: Callable[[], bool] = lambda: False
        self._engine: Engine | None = None
        self._lock = renewed_in_children(threading.Lock())
        self._replaced = False

    def get(self) -> Engine:
        """The engine for the settings in force."""
        return self._engine or self._make()

    def reset(self) -> None:
        """Forget the engine; the next :meth:`get` makes another."""
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                self._replaced = True
                engine.store.close()

    @property
    def longest_grace(self) -> float:
        """How long a store that lost its marks distrusts itself, if nobody ends that, in seconds.

        Where somebody can, a lease: no mark lives longer. Elsewhere what the settings say.
        """
        ends_early = self.parts.get("transactions") is not None
        return float(conf.get("LEASE") if ends_early else conf.get("GRACE"))

    def _make(self) -> Engine:
        with self._lock:
            if self._engine is not None:
                return self._engine
            engine = self._engine = self._new_engine()
        if engine.outages.in_debt:
            patience = FIRST_PATIENCE_ON_A_LOOP if _is_on_a_loop() else FIRST_PATIENCE
            engine.outages.settle_first(patience)
        return engine

    def _new_engine(self) -> Engine:
        is_usable = not _cache_is_overridden_away()
        store = make_store(self.longest_grace) if is_usable else LocalStore()
        store = with_near_tier(store, self.sees_snapshot)
        engine = Engine(
            store,
            grace=conf.get("GRACE"),
            lease=conf.get("LEASE"),
            jitter=conf.get("JITTER"),
            max_entry_bytes=conf.get("MAX_ENTRY_BYTES"),
            compress_from=conf.get("COMPRESS_FROM"),
            enabled=is_usable and conf.get("ENABLED"),
            tenant=tenants.current,
            **self.parts,
        )
        engine.outages.begin()
        if self._replaced:
            # Writes went to another store meanwhile: this one has missed them.
            engine.distrust()
        return engine


def make_store(longest_grace: float) -> Store:
    """The store that the settings name."""
    alias = conf.get("CACHE")
    if alias is None:
        return LocalStore(max_bytes=conf.get("MAX_BYTES"))
    options: dict[str, Any] = {"namespace": namespace_in_force(), "grace": longest_grace}
    if is_cluster(caches[alias]):
        from django_layercache.stores.cluster import ClusterStore

        connect = partial(client_of, caches[alias])
        return ClusterStore(connect, **options)
    pool = pool_of(caches[alias])
    if pool is not None:
        from django_layercache.stores.redis import RedisStore

        keeps = conf.get("ON_FAILOVER") == "keep"
        return RedisStore(pool, replicas=conf.get("FAILOVER_REPLICAS") if keeps else 0, **options)
    servers = servers_of(caches[alias])
    if servers is not None:
        return MemcachedStore(servers, **options)
    if why := objection_to(caches[alias]):
        raise InvalidSetting(f"LAYERCACHE['CACHE'] names {alias!r}, which {why}.")
    return BoundedStore(
        lambda: caches[alias], namespace=namespace_in_force(), lease=conf.get("LEASE")
    )


def namespace_in_force() -> str:
    """What separates this project from others in the same server: ``NAMESPACE``, else the alias' ``KEY_PREFIX``."""
    alias = conf.get("CACHE")
    return str(conf.get("NAMESPACE") or (alias is not None and caches[alias].key_prefix) or "")


def with_near_tier(store: Store, must_ask: Callable[[], bool] = lambda: False) -> Store:
    """*store* behind the near tier that the settings want; itself if they want none, or it is in this process."""
    options = conf.get("NEAR")
    if options is None or store.in_process:
        return store
    if not isinstance(options, Mapping):
        raise InvalidSetting(f"LAYERCACHE['NEAR'] is a {type(options).__name__}, not a dictionary.")
    known = _known(options.get("freshness", "strict"), store)
    max_bytes = options.get("max_bytes", NEAR_BYTES)
    return NearStore(store, known, max_bytes=max_bytes, must_ask=must_ask)


def _known(freshness: Any, store: Any) -> Known:
    if freshness == "strict":
        return NothingKnown()
    if freshness == "request":
        return RequestTokens()
    if freshness != "pushed":
        raise InvalidSetting(f"LAYERCACHE['NEAR']['freshness'] is {freshness!r}.")
    if not getattr(store, "pushes", False):
        raise InvalidSetting(
            "LAYERCACHE['NEAR']['freshness'] is 'pushed', which takes a Redis server or a cluster of them."
        )
    from django_layercache.stores.near_pushed import PushedTokens

    return PushedTokens(store)


def _cache_is_overridden_away() -> bool:
    """Whether a test has replaced ``CACHES``, and with it the alias that we were told to use.

    Nothing is cached until it is back, and what was, is not used then: no query may fail for it.
    Another exact store is followed; one that is bounded, only if ``LAYERCACHE`` was told so since.
    A project that has never had such a cache is told so by an error.
    """
    alias, holder = conf.get("CACHE"), getattr(settings, "_wrapped", None)
    if alias is None or not _are_overridden(holder):
        return False
    try:
        cache = caches[alias]
        return not is_exact(cache) and (objection_to(cache) is not None or not _is_meant(holder))
    except (InvalidCacheBackendError, ImproperlyConfigured):
        return True


def _are_overridden(holder: Any) -> bool:
    """Whether *holder* is what ``override_settings`` has put in front of the project's settings."""
    return isinstance(getattr(holder, "default_settings", None), (Settings, UserSettingsHolder))


def _is_meant(holder: Any) -> bool:
    """Whether ``LAYERCACHE`` was overridden together with ``CACHES`` or later, or neither was."""
    while _are_overridden(holder):
        if conf.SETTING in vars(holder):
            return True
        if "CACHES" in vars(holder):
            return False
        holder = holder.default_settings
    return True


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


engines = EngineHandler()


def get_engine() -> Engine:
    """The engine of this process, for the settings in force."""
    return engines.get()


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting in {conf.SETTING, "CACHES", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        engines.reset()


setting_changed.connect(_on_setting_changed, dispatch_uid="django_layercache.handlers")
