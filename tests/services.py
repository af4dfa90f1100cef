"""Real servers on free loopback ports, started and ended by the tests.

A `Server` is one process under mirakuru's care. Its port is drawn when it is made and the process starts
later: `tests/settings.py` has to name the ports before anything runs, and a test that restarts a server wants to
find it where it was. `tests/plugin.py` turns servers into pytest fixtures.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mirakuru import TCPExecutor
from mirakuru.exceptions import ProcessFinishedWithError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.certificates import Certificate

HOST = "127.0.0.1"
TIMEOUT = 30  # seconds to start or to end; mirakuru's default is an hour


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def find_program(*names: str, also: tuple[str, ...] = ()) -> str | None:
    """Return the path of the first program found on PATH, in an sbin, or by the globs in `also`."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])
    for name in names:
        if found := shutil.which(name, path=places):
            return found
    matches = [match for pattern in also for match in glob.glob(pattern)]  # noqa: PTH207
    return max((match for match in matches if os.access(match, os.X_OK)), default=None)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def _is_stopped(pid: int) -> bool:
    """Whether all threads of a process stand still; taken for granted where nobody tells."""
    states = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state.rpartition(")")[2].split()[0] == "T" for state in states)


class Server:
    """One server process on a loopback port.

    `pause` and `resume` stop and continue the process where it stands (it accepts connections, and never
    answers); `kill` takes it away without a word; `start` brings it back on the same port.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    stop_signal: ClassVar[int] = signal.SIGTERM

    def __init__(self, port: int | None = None) -> None:
        self.host = HOST
        self.port = port or free_port()
        self.directory: Path | None = None
        self._executor: TCPExecutor | None = None

    @classmethod
    def program(cls) -> str | None:
        """Return the path of the server's program, or None where it is not installed."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make what the server needs in its directory before its first start."""

    def popen_kwargs(self) -> dict[str, object]:
        """Return what `subprocess.Popen` has to know besides the command."""
        return {}

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._executor is not None
        assert self._executor.process is not None
        return self._executor.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there (paused ones are)."""
        return self._executor is not None and self._executor.running()

    def start(self) -> None:
        """Start the server and wait until it accepts connections; do nothing if it runs."""
        if self.running:
            return
        if self.directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix=f"layercache-{self.name}-"))
            self.prepare()
        with (self.directory / "server.log").open("ab") as log:
            self._executor = TCPExecutor(
                self.command(),
                host=self.host,
                port=self.port,
                timeout=TIMEOUT,
                sleep=0.02,
                stop_signal=self.stop_signal,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=str(self.directory),
                popen_kwargs=self.popen_kwargs(),
            )
            try:
                self._executor.start()
            except Exception as error:
                error.add_note(self.log())
                raise

    def stop(self) -> None:
        """End the server in good order and remove what it wrote."""
        if self.running:
            self.resume()
            self._end()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def _end(self) -> None:
        assert self._executor is not None
        # With which code a server ends when it is asked to is its own business.
        with suppress(ProcessFinishedWithError):
            self._executor.stop()

    def kill(self) -> None:
        """Take the process away with SIGKILL, keeping its directory for the next `start`."""
        if self._executor is not None:
            self._executor.kill()

    def pause(self) -> None:
        """Stop the process where it stands (SIGSTOP): connections open, and nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)
        while not _is_stopped(
            self.pid
        ):  # each of its threads answers until the signal has come to it
            time.sleep(0.001)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        os.killpg(self.pid, signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the server for the length of the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def log(self) -> str:
        """Return what the server has printed so far."""
        if self.directory is None:
            return ""
        return (self.directory / "server.log").read_text(errors="replace")


class RedisServer(Server):
    """A Redis (or Valkey) server that writes nothing to disk."""

    name = "redis"
    package = "redis-server"

    def __init__(self, port: int | None = None, *, certificate: Certificate | None = None) -> None:
        super().__init__(port)
        #: It speaks TLS with this one, on a port of its own; what a test asks it goes without.
        self.certificate = certificate
        self.public_port = self.port if certificate is None else free_port()

    def settings(self) -> dict[str, str]:
        """What is not as by default."""
        return {} if self.certificate is None else self.certificate.settings(self.public_port)

    @classmethod
    def program(cls) -> str | None:
        # LAYERCACHE_REDIS names another one than the machine's: Valkey, another version.
        return os.environ.get("LAYERCACHE_REDIS") or find_program("redis-server", "valkey-server")

    def command(self) -> list[str]:
        return [
            self.program() or "redis-server",
            *("--bind", self.host, "--port", str(self.port)),
            *("--save", "", "--appendonly", "no", "--databases", "16"),
            *(part for name, value in self.settings().items() for part in (f"--{name}", value)),
        ]

    @property
    def url(self) -> str:
        """The address in the form that Django's and django-redis's `LOCATION` take."""
        scheme = "redis" if self.certificate is None else "rediss"
        return f"{scheme}://{self.host}:{self.public_port}/0"

    def ask(self, *command: str | int) -> str:
        """The answer to *command*, from redis-cli."""
        program = find_program("redis-cli", "valkey-cli") or "redis-cli"
        done = subprocess.run(
            [program, "-h", self.host, "-p", str(self.port), *map(str, command)],
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        return done.stdout.strip()

    def follow(self, primary: RedisServer) -> None:
        """Become a replica of *primary*, and wait until what it holds is here."""
        self.ask("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        primary.ask("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        self.ask("REPLICAOF", primary.host, primary.public_port)
        wait_for(lambda: "master_link_status:up" in self.ask("INFO", "replication"))

    def promote(self) -> None:
        """Be a primary."""
        self.ask("REPLICAOF", "NO", "ONE")


class MemcachedServer(Server):
    """A memcached server."""

    name = "memcached"
    package = "memcached"

    @classmethod
    def program(cls) -> str | None:
        return find_program("memcached")

    def command(self) -> list[str]:
        as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
        program = self.program() or "memcached"
        return [program, *as_user, "-l", self.host, "-p", str(self.port), "-U", "0", "-m", "64"]

    @property
    def location(self) -> str:
        """The address in the form that Django's `LOCATION` takes."""
        return f"{self.host}:{self.port}"


class PostgresServer(Server):
    """A PostgreSQL cluster of its own, which trades durability for speed and trusts every local connection."""

    name = "postgres"
    package = "postgresql"
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to leave
    user = "layercache"

    @classmethod
    def program(cls) -> str | None:
        return find_program("postgres", also=("/usr/lib/postgresql/*/bin/postgres",))

    @staticmethod
    def _system_user() -> str | None:
        """PostgreSQL refuses to run as root: return the user to run it as, or None for this one."""
        if os.geteuid() != 0:
            return None
        for candidate in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(candidate).pw_name
            except KeyError:
                continue
        message = "PostgreSQL refuses to run as root, and there is no user 'postgres' or 'nobody'."
        raise RuntimeError(message)

    def popen_kwargs(self) -> dict[str, object]:
        user = self._system_user()
        if user is None:
            return {}
        return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}

    def prepare(self) -> None:
        assert self.directory is not None
        if user := self._system_user():
            shutil.chown(self.directory, user)
        initdb = Path(self.program() or "postgres").resolve().with_name("initdb")
        arguments = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale"]
        subprocess.run(
            [
                str(initdb),
                *arguments,
                f"--username={self.user}",
                "-D",
                str(self.directory / "data"),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.directory,
            **self.popen_kwargs(),
        )

    def command(self) -> list[str]:
        assert self.directory is not None
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_connections": "60",
            "max_prepared_transactions": "5",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.program() or "postgres", "-D", str(self.directory / "data"), *flags]


class PostgresReplica(PostgresServer):
    """A streaming replica of a running `PostgresServer`, on a port of its own."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__()
        self.primary = primary

    def prepare(self) -> None:
        assert self.directory is not None
        if user := self._system_user():
            shutil.chown(self.directory, user)
        copy = Path(self.program() or "postgres").resolve().with_name("pg_basebackup")
        source = ["-h", self.primary.host, "-p", str(self.primary.port), "-U", self.user]
        options = ["--checkpoint=fast", "--no-sync", "--wal-method=stream", "--write-recovery-conf"]
        subprocess.run(
            [str(copy), *source, *options, "-D", str(self.directory / "data")],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.directory,
            **self.popen_kwargs(),
        )


class VarnishServer(Server):
    """A Varnish in front of the HTTP server on `backend_port`."""

    name = "varnish"
    package = "varnish"

    def __init__(self, port: int | None = None, *, backend_port: int) -> None:
        super().__init__(port)
        self.backend_port = backend_port

    @classmethod
    def program(cls) -> str | None:
        return find_program("varnishd")

    def command(self) -> list[str]:
        assert self.directory is not None
        return [
            self.program() or "varnishd",
            "-F",
            *("-n", str(self.directory / "work")),
            *("-a", f"{self.host}:{self.port}"),
            *("-b", f"{self.host}:{self.backend_port}"),
            *("-s", "malloc,32m"),
        ]

    @property
    def url(self) -> str:
        """The address that a client asks."""
        return f"http://{self.host}:{self.port}"
