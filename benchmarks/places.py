"""Where it is measured: servers of our own on free loopback ports, and a database for each worker."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.workers import Assignment, RemoteWorker
from tests.services import PostgresServer, RedisServer

DATABASES = ("sqlite", "postgresql")


@dataclass
class Places:
    """What there is. ``missing`` says what there is not."""

    directory: Path
    redis: RedisServer | None
    postgres: PostgresServer | None
    missing: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    _redis_used: int = 0
    _seeded: set[str] = field(default_factory=set)

    @property
    def databases(self) -> list[str]:
        return list(DATABASES if self.postgres else DATABASES[:1])

    def assignments(self, database: str) -> list[Assignment]:
        """One for each contender and each store that it can use, each with a database of its own."""
        pairs = [
            (name, store)
            for name, contender in CONTENDERS.items()
            for store in contender.stores
            if store != "redis" or self.redis
        ]
        return [self.assignment(database, name, store) for name, store in pairs]

    def assignment(self, database: str, name: str, store: str) -> Assignment:
        """For one contender with one store, once in a run."""
        self._seed(database)
        copy = self._copy(database, f"{name}_{store}")
        redis = self._next_redis() if store == "redis" else None
        settings = {"contender": name, "store": store, "database": copy, "redis": redis}
        return Assignment(name, store, database, settings)

    def _next_redis(self) -> str:
        """One of the server's 16 numbered databases, which nobody else has."""
        assert self.redis
        self._redis_used += 1
        return f"redis://{self.redis.host}:{self.redis.port}/{self._redis_used}"

    def _seed(self, database: str) -> None:
        if database in self._seeded:
            return
        self._seeded.add(database)
        settings = self._settings(database, "seed")
        if database == "postgresql":
            self._execute('CREATE DATABASE "seed"')
        assignment = {"contender": "plain", "store": "none", "database": settings, "redis": None}
        worker = RemoteWorker(Assignment("plain", "none", database, assignment))
        try:
            self.rows = worker.do("migrate_and_seed")
        finally:
            worker.close()

    def _copy(self, database: str, name: str) -> dict[str, Any]:
        settings = self._settings(database, name)
        if database == "sqlite":
            shutil.copyfile(self.directory / "seed.sqlite3", settings["NAME"])
        else:
            self._execute(f'CREATE DATABASE "{name}" TEMPLATE "seed"')
        return settings

    def _settings(self, database: str, name: str) -> dict[str, Any]:
        if database == "postgresql":
            assert self.postgres
            return {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": self.postgres.host,
                "PORT": str(self.postgres.port),
                "USER": self.postgres.user,
                "NAME": name,
                "CONN_MAX_AGE": None,
            }
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(self.directory / f"{name}.sqlite3"),
            # Durability is not what is compared, and the disk is noise. A cheap COMMIT makes
            # whatever is added to it look its worst.
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
            },
        }

    def _execute(self, sql: str) -> None:
        import psycopg

        assert self.postgres
        server = self.postgres
        with psycopg.connect(
            host=server.host, port=server.port, user=server.user, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(sql)


@contextmanager
def places() -> Iterator[Places]:
    """Start what is installed; end it, and remove what it wrote, at the end."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="layercache-bench-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        missing: list[str] = []
        servers: list[Any] = []
        for kind in (RedisServer, PostgresServer):
            if not kind.program():
                missing.append(f"{kind.name} is not installed: apt-get install {kind.package}")
                servers.append(None)
                continue
            server = kind()
            stack.callback(server.stop)
            server.start()
            servers.append(server)
        yield Places(directory, *servers, missing=missing)
