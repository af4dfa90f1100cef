"""Caches on a Redis Cluster, as docs/how-to/choose-a-store.md says how to write them."""

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from django_redis.pool import ConnectionFactory
from redis.cluster import RedisCluster


class ClusterClient(RedisCacheClient):
    def __init__(self, servers, **options):
        super().__init__(servers, **options)
        self._options, self._cluster = options, None

    def get_client(self, key=None, *, write=False):
        if self._cluster is None:
            self._cluster = RedisCluster.from_url(self._servers[0], **self._options)
        return self._cluster


class ClusterCache(RedisCache):
    def __init__(self, server, params):
        super().__init__(server, params)
        self._class = ClusterClient


class ClusterFactory(ConnectionFactory):
    clusters = {}

    def get_connection(self, params):
        options = {**params, **self.pool_cls_kwargs}
        url = options.pop("url")
        del options["parser_class"]
        if url not in self.clusters:
            self.clusters[url] = RedisCluster.from_url(url, **options)
        return self.clusters[url]
