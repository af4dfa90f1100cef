"""System checks: what is wrong with ``settings.LAYERCACHE``, or less than it could be."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as Warn

from django_layercache import conf
from django_layercache.aliases import is_cluster, is_exact, objection_to, pool_of
from django_layercache.checks_of_databases import check_databases
from django_layercache.checks_of_models import check_models
from django_layercache.checks_of_near import check_near
from django_layercache.checks_of_procedures import check_procedures
from django_layercache.checks_of_tenants import check_tenants
from django_layercache.checks_of_values import (
    check_timeout,
    did_you_mean,
    is_number,
    no_dictionary,
)
from django_layercache.exceptions import LayerCacheError
from django_layercache.querysets import rawsql

__all__ = [
    "check_deployment",
    "check_exactness",
    "check_middleware",
    "check_parsers",
    "check_settings",
]

#: Of these checks, and no other: ``manage.py check --tag layercache``, and our own commands.
_TAG = "layercache"

_MIDDLEWARE = "django_layercache.middleware.LayerCacheMiddleware"
#: They add to the response what decides whether, and for whom, a page may be stored.
_INSIDE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
)


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Wrong values in ``LAYERCACHE``."""
    value = getattr(settings, conf.SETTING, {})
    if not isinstance(value, Mapping):
        return [
            no_dictionary(
                value,
                "settings.LAYERCACHE",
                "Write LAYERCACHE = {'TIMEOUT': 300}, or leave it away.",
                "layercache.E001",
            )
        ]
    found = [*_unknown_names(value), *_numbers(), *_words(), *check_models(conf.get("MODELS"))]
    found += check_databases(conf.get("DATABASES"))
    found += check_tenants()
    found += check_procedures(conf.get("PROCEDURES"))
    return [*found, *_cache_alias(conf.get("CACHE"))]


def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    """``LayerCacheMiddleware`` has to see the response as the visitor gets it."""
    middleware = list(settings.MIDDLEWARE or ())
    if _MIDDLEWARE not in middleware:
        return []
    position = middleware.index(_MIDDLEWARE)
    outside = [name for name in _INSIDE if name in middleware[:position]]
    if not outside:
        return []
    return [
        Warn(
            f"LayerCacheMiddleware comes after {', '.join(name.rpartition('.')[2] for name in outside)}.",
            hint="Put it first in MIDDLEWARE: what the others add to a response decides who may share it.",
            id="layercache.W001",
        )
    ]


def check_parsers(**kwargs: Any) -> list[CheckMessage]:
    """Raw SQL is read by sqlglot."""
    if rawsql.HAS_PARSER:
        return []
    return [
        Warn(
            "sqlglot is not installed: every raw SQL statement that is not plainly a query "
            "invalidates everything that depends on its database.",
            hint="pip install 'django-layercache[sql]'",
            id="layercache.W002",
        )
    ]


def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """The `local` store is exact within one process only; a shared one may have to be told apart."""
    if conf.get("CACHE") is not None:
        return _namespace()
    return [
        Warn(
            "The store is `local`: it is exact within its own process. Where several processes "
            "serve the site (gunicorn's workers, a task queue, manage.py), one does not see what "
            "another one changes.",
            hint="Set LAYERCACHE['CACHE'] to the alias of a Redis or memcached cache in CACHES.",
            id="layercache.W003",
        )
    ]


def check_exactness(**kwargs: Any) -> list[CheckMessage]:
    """A `bounded` store promises less than the others."""
    alias = conf.get("CACHE")
    try:
        cache = None if alias is None else caches[alias]
        if cache is None or is_exact(cache) or objection_to(cache):
            return []
    except Exception:  # what is wrong with the alias is said by check_settings
        return []
    if isinstance(cache, LocMemCache):
        return [
            Warn(
                f"The cache {alias!r} is a LocMemCache: each process has one of its own, and does not "
                "see what another one changes, until entries expire.",
                hint="Name a Redis or memcached cache in CACHE. For one process, None is better.",
                id="layercache.W009",
            )
        ]
    return [
        Warn(
            f"The store in the cache {alias!r} is `bounded`: two processes that change the same "
            "thing at the same instant can overwrite each other's marks, and then a page from "
            "before a COMMIT can be answered until that COMMIT has returned, or, if its process "
            "dies, until it expires.",
            hint="Name a Redis or memcached cache, which is exact. In one process, None is.",
            id="layercache.W007",
        )
    ]


def check_failover(**kwargs: Any) -> list[CheckMessage]:
    """``ON_FAILOVER`` is about a Redis server that has replicas."""
    if conf.get("ON_FAILOVER") != "keep" or _has_replicas(conf.get("CACHE")):
        return []
    return [
        Warn(
            "ON_FAILOVER is 'keep', which the store cannot do: it has no replicas, or is a cluster.",
            hint="Leave it away, or name a Redis server with replicas in CACHE.",
            id="layercache.W006",
        )
    ]


def _has_replicas(alias: Any) -> bool:
    if alias is None or alias not in settings.CACHES:
        return False
    try:
        return not is_cluster(caches[alias]) and pool_of(caches[alias]) is not None
    except Exception:  # check_settings says what is wrong with it
        return True


def _unknown_names(value: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    for name in value:
        if name not in conf.DEFAULTS:
            yield Error(
                f"LAYERCACHE has no setting {name!r}.",
                hint=did_you_mean(str(name).upper(), conf.DEFAULTS),
                id="layercache.E002",
            )


def _numbers() -> Iterator[CheckMessage]:
    yield from check_timeout(conf.get("TIMEOUT"), "LAYERCACHE['TIMEOUT']")
    rules: Sequence[tuple[str, Callable[[float], bool], str]] = (
        ("LEASE", lambda n: n > 0, "a number of seconds greater than 0, longer than any COMMIT takes"),
        ("GRACE", lambda n: n >= 0, "a number of seconds, 0 or more"),
        ("FAILOVER_REPLICAS", lambda n: n >= 1 and n == int(n), "a number of replicas, 1 or more"),
        ("JITTER", lambda n: 0 <= n < 1, "a part of a timeout: 0 or more, and less than 1"),
        ("COMPRESS_FROM", lambda n: n >= 0, "a number of bytes, 0 or more, or None for never"),
        ("MAX_BYTES", lambda n: n > 0, "a number of bytes greater than 0"),
        ("MAX_ENTRY_BYTES", lambda n: n > 0, "a number of bytes greater than 0"),
    )  # fmt: skip
    for name, fits, what in rules:
        value = conf.get(name)
        if value is None and name == "COMPRESS_FROM":
            continue
        if not is_number(value) or not fits(value):
            yield Error(
                f"LAYERCACHE[{name!r}] is {value!r}.",
                hint=f"It is {what}; by default {conf.DEFAULTS[name]!r}.",
                id="layercache.E004",
            )


def _words() -> Iterator[CheckMessage]:
    rules: Sequence[tuple[str, tuple[Any, ...], str]] = (
        ("ENABLED", (True, False), "True or False"),
        ("ON_FAILOVER", ("drop", "keep"), "'drop' or 'keep'"),
        ("ON_OUTAGE", ("outbox", "refuse"), "'outbox' or 'refuse'"),
    )
    for name, allowed, what in rules:
        value = conf.get(name)
        if not any(value is word or (isinstance(value, str) and value == word) for word in allowed):
            yield Error(
                f"LAYERCACHE[{name!r}] is {value!r}.", hint=f"It is {what}.", id="layercache.E005"
            )
    if not isinstance(conf.get("NAMESPACE"), str):
        yield Error(
            f"LAYERCACHE['NAMESPACE'] is {conf.get('NAMESPACE')!r}.",
            hint="It is a string; by default an empty one.",
            id="layercache.E005",
        )


def _cache_alias(alias: Any) -> Iterator[CheckMessage]:
    if alias is None:
        return
    if not isinstance(alias, str) or alias not in settings.CACHES:
        yield Error(
            f"LAYERCACHE['CACHE'] names the cache {alias!r}, which CACHES does not have.",
            hint=did_you_mean(str(alias), settings.CACHES)
            + " None stands for the in-process store.",
            id="layercache.E008",
        )
        return
    try:
        from django_layercache.handlers import make_store

        make_store(longest_grace=0).close()
    except LayerCacheError as error:
        yield Error(
            str(error),
            hint="Name a Redis or memcached cache, or None for the in-process store.",
            id="layercache.E009",
        )
    except ImportError as error:
        yield Error(
            f"The cache {alias!r} cannot be used: {error}.",
            hint=_how_to_install(error.name),
            id="layercache.E010",
        )
    except Exception as error:  # whatever a cache backend may raise about its own settings
        yield Error(
            f"The cache {alias!r} cannot be used: {error}.",
            hint="Look at its entry in CACHES.",
            id="layercache.E009",
        )


def _how_to_install(module: str | None) -> str:
    extra = {"pymemcache": "memcached", "redis": "redis"}.get(module or "")
    return f"pip install 'django-layercache[{extra}]'" if extra else "Install its client library."


def _namespace() -> list[CheckMessage]:
    from django_layercache.handlers import namespace_in_force

    try:
        if namespace_in_force():
            return []
    except Exception:  # an alias that cannot be used is another check's business
        return []
    return [
        Warn(
            "Nothing separates this project from another one, or another deployment of it, that "
            "uses the same cache server: they would answer from each other's entries.",
            hint="Set LAYERCACHE['NAMESPACE'], or KEY_PREFIX in CACHES, to a name that no other has.",
            id="layercache.W008",
        )
    ]


def register_checks() -> None:
    """Called by the app when it is ready."""
    for check in (
        check_settings,
        check_middleware,
        check_parsers,
        check_near,
        check_failover,
        check_exactness,
    ):
        register(check, Tags.caches, _TAG)
    register(check_deployment, Tags.caches, _TAG, deploy=True)
