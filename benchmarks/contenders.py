"""Who is compared: how each is set up, and how a project that uses it writes the same thing.

This module is imported by the settings, hence before Django is set up: what a contender needs it
imports when it is used.
"""

import pickle
from collections.abc import Callable
from typing import Any, ClassVar

TIMEOUT = 3600  # seconds; nothing expires during a run


class Contender:
    """Plain Django, and what the others have in common with it.

    *stores* are where it can keep values; *package* is the distribution whose version is printed.
    The methods return ``None`` where the contender has nothing of the kind; where *caches_querysets*
    is true, its querysets are cached without a word, below functions, pages and fragments too.
    """

    name: ClassVar[str] = "plain"
    title: ClassVar[str] = "plain Django"
    package: ClassVar[str] = "Django"
    stores: ClassVar[tuple[str, ...]] = ("none",)
    caches_querysets: ClassVar[bool] = False
    #: Whether it stores anything at all: a hit runs no query then.
    caches: ClassVar[bool] = True

    @staticmethod
    def settings(assignment: dict[str, Any]) -> dict[str, Any]:
        """What is added to the settings; ``APPS`` go in front of ``INSTALLED_APPS``."""
        return {}

    def value(self, key: str, build: Callable[[], Any]) -> Any:
        """The evaluated query that *build* makes; *key* is for who must name what is kept."""
        return build()

    def function(self, function: Callable[..., Any]) -> Callable[..., Any] | None:
        """A function of one argument, kept."""
        return None

    def view(self, view: Callable[..., Any]) -> Callable[..., Any] | None:
        """A view, kept."""
        return None

    #: Around the rest of the middleware, to keep every page; empty where there is none.
    middleware: ClassVar[tuple[str, ...]] = ()
    #: The template tags around a fragment: ``{% load %}``, opening and closing.
    fragment: ClassVar[tuple[str, str, str] | None] = None


class Plain(Contender):
    """The queries are run, the page is built, each time."""

    caches = False


class Floor(Contender):
    """Nothing but the round trip and the decoding: no queryset, no key from it, no instances, no freshness."""

    name = "floor"
    title = "the floor"
    package = "redis"
    stores = ("local", "redis")

    def __init__(self) -> None:
        from django.conf import settings

        if settings.ASSIGNMENT["store"] == "redis":
            import redis

            client = redis.Redis.from_url(settings.ASSIGNMENT["redis"])
            self._get, self._set = client.get, client.set
        else:
            kept: dict[str, bytes] = {}
            self._get, self._set = kept.get, kept.__setitem__

    def value(self, key: str, build: Callable[[], Any]) -> Any:
        data = self._get(key)
        if data is not None:
            return pickle.loads(data)
        self._set(key, pickle.dumps(_bare(build()), pickle.HIGHEST_PROTOCOL))
        return None


def _bare(value: Any) -> Any:
    """The rows of instances."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not hasattr(value, "_meta"):
        return value
    related = value._state.fields_cache.values()
    own = [getattr(value, field.attname) for field in value._meta.concrete_fields]
    return tuple(own + [column for other in related for column in _bare(other)])


class DjangoCache(Contender):
    """Django's own cache API, with keys by hand. It invalidates nothing."""

    name = "django"
    title = "Django's cache"
    stores = ("local", "redis")
    middleware = (
        "django.middleware.cache.UpdateCacheMiddleware",
        "django.middleware.cache.FetchFromCacheMiddleware",
    )
    fragment = ("{% load cache %}", "{% cache 3600 teaser number %}", "{% endcache %}")

    def value(self, key: str, build: Callable[[], Any]) -> Any:
        from django.core.cache import cache

        return cache.get_or_set(key, build, TIMEOUT)

    def function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from django.core.cache import cache

        def kept(argument: Any) -> Any:
            return cache.get_or_set(f"function:{argument}", lambda: function(argument), TIMEOUT)

        return kept

    def view(self, view: Callable[..., Any]) -> Callable[..., Any]:
        from django.views.decorators.cache import cache_page

        return cache_page(TIMEOUT)(view)


class Cachalot(Contender):
    """All querysets are cached, by table."""

    name = "cachalot"
    title = "cachalot"
    package = "django-cachalot"
    stores = ("local", "redis")
    caches_querysets = True

    @staticmethod
    def settings(assignment: dict[str, Any]) -> dict[str, Any]:
        return {"APPS": ["cachalot"], "CACHALOT_TIMEOUT": TIMEOUT}


class Cacheops(Contender):
    """All querysets are cached, by conditions."""

    name = "cacheops"
    title = "cacheops"
    package = "django-cacheops"
    stores = ("redis",)
    caches_querysets = True
    fragment = ("{% load cacheops %}", '{% cached 3600 "teaser" number %}', "{% endcached %}")

    @staticmethod
    def settings(assignment: dict[str, Any]) -> dict[str, Any]:
        return {
            "APPS": ["cacheops"],
            "CACHEOPS_REDIS": assignment["redis"],
            "CACHEOPS": {"blog.*": {"ops": "all", "timeout": TIMEOUT}},
        }

    def function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from cacheops import cached

        return cached(timeout=TIMEOUT)(function)

    def view(self, view: Callable[..., Any]) -> Callable[..., Any]:
        from cacheops import cached_view

        return cached_view(timeout=TIMEOUT)(view)


class LayerCache(Contender):
    """This library. All querysets are cached, as with the two others that can."""

    name = "layercache"
    title = "layercache"
    package = "django-layercache"
    stores = ("local", "redis")
    caches_querysets = True
    middleware = ("django_layercache.middleware.LayerCacheMiddleware",)
    fragment = (
        "{% load layercache %}",
        '{% layercache 3600 "teaser" number %}',
        "{% endlayercache %}",
    )

    @staticmethod
    def settings(assignment: dict[str, Any]) -> dict[str, Any]:
        return {
            "APPS": ["django_layercache"],
            "LAYERCACHE": {
                "CACHE": "default" if assignment["store"] == "redis" else None,
                "MAX_BYTES": 1024**3,  # as the others: nothing is thrown away
                "MODELS": {"blog.*": {"timeout": TIMEOUT}},
                "TIMEOUT": TIMEOUT,
            },
        }

    def function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        from django_layercache import cached

        return cached(timeout=TIMEOUT)(function)

    def view(self, view: Callable[..., Any]) -> Callable[..., Any]:
        from django_layercache import cache_view

        return cache_view(timeout=TIMEOUT)(view)


CONTENDERS: dict[str, type[Contender]] = {
    kind.name: kind for kind in (Plain, Floor, DjangoCache, Cachalot, Cacheops, LayerCache)
}
