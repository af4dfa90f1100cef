"""What stands behind an alias in ``CACHES``: a Redis server, a cluster of them, memcached servers, another cache."""

import re
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from django_layercache.exceptions import InvalidSetting
from django_layercache.stores.memcached_wire import Address, Server

__all__ = [
    "address_of",
    "client_of",
    "is_cluster",
    "is_exact",
    "objection_to",
    "pool_of",
    "servers_of",
]

#: Options of pymemcache, and what they are called here.
_OPTIONS = {"connect_timeout": "connect_timeout", "timeout": "timeout", "tls_context": "tls"}

#: Options of a valkey-py connection that are objects of its own.
_OF_VALKEY_PY = (
    "parser_class",
    "retry",
    "retry_on_error",
    "credential_provider",
    "valkey_connect_func",
)


def client_of(cache: BaseCache) -> Any:
    """redis-py's client of the primary server behind *cache*, or ``None`` if it is not Redis."""
    client = getattr(cache, "_cache", None)  # Django's RedisCache
    if client is None or not hasattr(client, "get_client"):
        client = getattr(cache, "client", None)  # django-redis
    if client is None or not hasattr(client, "get_client"):
        return None
    return client.get_client(write=True)


def pool_of(cache: BaseCache) -> Any:
    """The connection pool of that client, if it is redis-py's; one like it, if it is valkey-py's."""
    pool = getattr(client_of(cache), "connection_pool", None)
    is_valkey = type(pool).__module__.partition(".")[0] == "valkey"
    return _as_redis_pool(pool) if is_valkey else pool


def _as_redis_pool(pool: Any) -> Any:
    import redis

    name = pool.connection_class.__name__
    if name not in {"Connection", "SSLConnection", "UnixDomainSocketConnection"}:
        raise InvalidSetting(
            f"The store cannot connect as valkey-py's {name} does. Name a cache that uses redis-py."
        )
    given = {k: v for k, v in pool.connection_kwargs.items() if k not in _OF_VALKEY_PY}
    return redis.ConnectionPool(connection_class=getattr(redis.connection, name), **given)


def is_cluster(cache: BaseCache) -> bool:
    """Whether that client is redis-py's ``RedisCluster``."""
    try:
        return hasattr(client_of(cache), "nodes_manager")
    except Exception as error:  # it connects when it is made, and the cluster may be away
        if type(error).__name__ == "RedisClusterException":
            return True
        raise


def servers_of(cache: BaseCache) -> list[Server] | None:
    """The pool of *cache*, in the order of its ``LOCATION``; ``None`` if it is not a memcached one."""
    if not isinstance(cache, BaseMemcachedCache):
        return None
    made: Any = cache
    given: dict[str, Any] = made._options
    if "username" in given:
        raise InvalidSetting(
            "The memcached servers want a user name (SASL), which the store cannot give. Name "
            "a pool without, or with TLS."
        )
    options = {
        name: given[option] for option, name in _OPTIONS.items() if given.get(option) is not None
    }
    return [Server(address_of(server), **options) for server in made._servers]


def is_exact(cache: BaseCache) -> bool:
    """Whether there is an exact store for what is behind *cache*."""
    return is_cluster(cache) or pool_of(cache) is not None or servers_of(cache) is not None


def objection_to(cache: BaseCache) -> str | None:
    """Why *cache* cannot be a `bounded` store either, if it cannot."""
    if isinstance(cache, DummyCache):
        return "keeps nothing"
    if isinstance(cache, DatabaseCache):
        # A mark would be part of the very transaction that it announces, and wait for its locks.
        return "is in a database, which the cache is there to spare"
    return None


def address_of(server: Any) -> Address:
    """*server* as it stands in ``LOCATION``: ``host``, ``host:port``, ``[::1]:port``, ``unix:/path``."""
    if not isinstance(server, str):
        host, port = server
        return str(host), int(port)
    text = server.strip()
    if text.startswith(("unix:", "/")):
        return text.removeprefix("unix:")
    if found := re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?", text):
        return found[1] or found[3], int(found[2] or found[4] or 11211)
    return text, 11211  # an IPv6 address without a port
