"""On what the suite runs: a database and a store."""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.services import PostgresServer, RedisServer

__all__ = ["Place", "start_servers"]


@dataclass(frozen=True)
class Place:
    """The settings of a run."""

    database: str
    store: str
    commits: str
    servers: dict[str, Any]
    remember: int

    def __str__(self) -> str:
        return f"{self.database}, {self.store} store, {self.commits}"

    @property
    def baseline(self) -> str:
        """What plain Django's results depend on."""
        return f"{self.database}-{self.commits}"

    def options(self, group: tuple[str, ...], *, plain: bool) -> dict[str, Any]:
        """What the process of *group* is told; it goes through JSON."""
        # Nothing of one group's may be found by another, whose tables are called the same.
        namespace = hashlib.blake2b(repr(group).encode(), digest_size=4).hexdigest()
        return {
            "apps": group,
            "plain": plain,
            "commits": self.commits,
            "postgres": self.servers.get("postgresql"),
            "redis": self.servers.get("redis"),
            "remember": self.remember,
            "namespace": namespace,
        }


def start_servers(stack: ExitStack, database: str, store: str) -> dict[str, Any]:
    """The servers that are needed, until *stack* ends."""
    servers: dict[str, Any] = {}
    if database == "postgresql":
        postgres = PostgresServer()
        stack.callback(postgres.stop)
        postgres.start()
        servers["postgresql"] = {
            "HOST": postgres.host,
            "PORT": str(postgres.port),
            "USER": postgres.user,
        }
    if store == "redis":
        redis = RedisServer()
        stack.callback(redis.stop)
        redis.start()
        servers["redis"] = redis.url
    return servers
