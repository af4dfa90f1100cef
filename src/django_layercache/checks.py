"""System checks: what is wrong with ``settings.LAYERCACHE``, or less than it could be."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as Warn

from django_layercache import conf
from django_layercache.exceptions import LayerCacheError
from django_layercache.querysets import rawsql

__all__ = ["check_deployment", "check_middleware", "check_parsers", "check_settings"]

_MIDDLEWARE = "django_layercache.middleware.LayerCacheMiddleware"
#: They add to the response what decides whether, and for whom, a page may be stored.
_INSIDE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
)
_MODEL_OPTIONS = frozenset({"cached", "partition_by", "timeout"})


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Wrong values in ``LAYERCACHE``."""
    value = getattr(settings, conf.SETTING, {})
    if not isinstance(value, Mapping):
        return [
            Error(
                f"settings.LAYERCACHE is a {type(value).__name__}, not a dictionary.",
                hint="Write LAYERCACHE = {'TIMEOUT': 300}, or leave it away.",
                id="layercache.E001",
            )
        ]
    found = [*_unknown_names(value), *_numbers(), *_words(), *_models(conf.get("MODELS"))]
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
            hint="pip install django-layercache[sql]",
            id="layercache.W002",
        )
    ]


def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """The `local` store is exact within one process only."""
    if conf.get("CACHE") is not None:
        return []
    return [
        Warn(
            "The store is `local`: it is exact within its own process. Where several processes "
            "serve the site (gunicorn's workers, a task queue, manage.py), one does not see what "
            "another one changes.",
            hint="Set LAYERCACHE['CACHE'] to the alias of a Redis cache in CACHES.",
            id="layercache.W003",
        )
    ]


def _unknown_names(value: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    for name in value:
        if name not in conf.DEFAULTS:
            yield Error(
                f"LAYERCACHE has no setting {name!r}.",
                hint=_did_you_mean(str(name).upper(), conf.DEFAULTS),
                id="layercache.E002",
            )


def _did_you_mean(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(sorted(names))}."


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124


def _numbers() -> Iterator[CheckMessage]:
    yield from _timeout(conf.get("TIMEOUT"), "LAYERCACHE['TIMEOUT']")
    rules: Sequence[tuple[str, Callable[[float], bool], str]] = (
        ("LEASE", lambda n: n > 0, "a number of seconds greater than 0, longer than any COMMIT takes"),
        ("GRACE", lambda n: n >= 0, "a number of seconds, 0 or more"),
        ("JITTER", lambda n: 0 <= n < 1, "a part of a timeout: 0 or more, and less than 1"),
        ("MAX_BYTES", lambda n: n > 0, "a number of bytes greater than 0"),
        ("MAX_ENTRY_BYTES", lambda n: n > 0, "a number of bytes greater than 0"),
    )  # fmt: skip
    for name, fits, what in rules:
        value = conf.get(name)
        if not _is_number(value) or not fits(value):
            yield Error(
                f"LAYERCACHE[{name!r}] is {value!r}.",
                hint=f"It is {what}; by default {conf.DEFAULTS[name]!r}.",
                id="layercache.E004",
            )


def _timeout(value: Any, where: str) -> Iterator[CheckMessage]:
    if value is not None and not (_is_number(value) and value >= 0):
        yield Error(
            f"{where} is {value!r}.",
            hint="It is a number of seconds, 0 or more, or None for ever.",
            id="layercache.E003",
        )


def _words() -> Iterator[CheckMessage]:
    rules: Sequence[tuple[str, tuple[Any, ...], str]] = (
        ("ENABLED", (True, False), "True or False"),
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


def _models(value: Any) -> Iterator[CheckMessage]:
    if not isinstance(value, Mapping):
        yield Error(
            f"LAYERCACHE['MODELS'] is a {type(value).__name__}, not a dictionary.",
            hint="Write {'blog.post': {'timeout': 60}, 'shop.*': {}, 'sessions.session': False}.",
            id="layercache.E006",
        )
        return
    for name, options in value.items():
        yield from _model_name(name)
        yield from _model_options(name, options)


def _model_name(name: Any) -> Iterator[CheckMessage]:
    labels = {model._meta.label_lower for model in apps.get_models(include_auto_created=True)}
    labels |= {f"{config.label}.*" for config in apps.get_app_configs()} | {"*"}
    if str(name).lower() not in labels:
        yield Error(
            f"LAYERCACHE['MODELS'] names {name!r}, and there is no such model.",
            hint=_did_you_mean(str(name).lower(), labels)
            if difflib.get_close_matches(str(name).lower(), labels)
            else "Write '<app label>.<model>', '<app label>.*', or '*' for all.",
            id="layercache.E007",
        )


def _model_options(name: Any, options: Any) -> Iterator[CheckMessage]:
    where = f"LAYERCACHE['MODELS'][{name!r}]"
    if options is False:
        return
    if not isinstance(options, Mapping) or not options.keys() <= _MODEL_OPTIONS:
        yield Error(
            f"{where} is {options!r}.",
            hint="It is a dictionary with at most 'cached', 'partition_by' and 'timeout' in it, or "
            "False: never cached.",
            id="layercache.E006",
        )
        return
    yield from _timeout(options.get("timeout"), f"{where}['timeout']")
    yield from _partitions(name, options.get("partition_by", ()), where)
    if not isinstance(options.get("cached", True), bool):
        yield Error(
            f"{where}['cached'] is {options['cached']!r}.",
            hint="It is True or False.",
            id="layercache.E006",
        )


def _partitions(name: Any, fields: Any, where: str) -> Iterator[CheckMessage]:
    models = [m for m in apps.get_models() if m._meta.label_lower == str(name).lower()]
    names = [f.name for model in models for f in model._meta.local_concrete_fields]
    names += [f.attname for model in models for f in model._meta.local_concrete_fields]
    wrong = not isinstance(fields, (list, tuple)) or [
        field for field in fields if field not in names
    ]
    if wrong:
        yield Error(
            f"{where}['partition_by'] is {fields!r}.",
            hint="It is a list of names of the model's own fields."
            if models
            else "Partitions are declared for one model, by its name.",
            id="layercache.E011",
        )


def _cache_alias(alias: Any) -> Iterator[CheckMessage]:
    if alias is None:
        return
    if not isinstance(alias, str) or alias not in settings.CACHES:
        yield Error(
            f"LAYERCACHE['CACHE'] names the cache {alias!r}, which CACHES does not have.",
            hint=_did_you_mean(str(alias), settings.CACHES)
            + " None stands for the in-process store.",
            id="layercache.E008",
        )
        return
    try:
        from django_layercache.handlers import make_store

        make_store(longest_grace=0).close()
    except LayerCacheError as error:
        yield Error(str(error), hint="Its BACKEND has to be a Redis one.", id="layercache.E009")
    except ImportError as error:
        yield Error(
            f"The cache {alias!r} cannot be used: {error}.",
            hint="pip install django-layercache[redis]",
            id="layercache.E010",
        )
    except Exception as error:  # whatever a cache backend may raise about its own settings
        yield Error(
            f"The cache {alias!r} cannot be used: {error}.",
            hint="Look at its entry in CACHES.",
            id="layercache.E009",
        )


def register_checks() -> None:
    """Called by the app when it is ready."""
    register(check_settings, Tags.caches)
    register(check_middleware, Tags.caches)
    register(check_parsers, Tags.caches)
    register(check_deployment, Tags.caches, deploy=True)
