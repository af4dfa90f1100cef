"""What stands behind an alias in ``CACHES``: memcached servers."""

import re
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from django_layercache.exceptions import InvalidSetting
from django_layercache.stores.memcached_wire import Address, Server

__all__ = ["address_of", "servers_of"]

#: Options of pymemcache, and what they are called here.
_OPTIONS = {"connect_timeout": "connect_timeout", "timeout": "timeout", "tls_context": "tls"}


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
