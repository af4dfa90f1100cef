"""The main process's side of a worker."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class WorkerFailed(Exception):
    """A worker could not do what it was told; the message is its traceback."""


@dataclass(frozen=True)
class Assignment:
    """Who works on what. ``settings`` are for :mod:`benchmarks.settings`."""

    contender: str
    store: str
    database: str
    settings: dict[str, Any]


class RemoteWorker:
    """One worker process. ``send`` and ``receive`` are apart so that several can prepare at once."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        environment = {
            **os.environ,
            "LAYERCACHE_BENCHMARK": json.dumps(assignment.settings),
            "PYTHONHASHSEED": "0",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    @property
    def name(self) -> str:
        return self.assignment.contender

    def send(self, method: str, *arguments: Any) -> None:
        assert self._process.stdin
        print(json.dumps([method, *arguments]), file=self._process.stdin, flush=True)

    def receive(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(f"{self.assignment} ended with {self._process.wait(10)}.")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(f"{self.name} ({self.assignment.store}):\n{answer['error']}")
        return answer["value"]

    def do(self, method: str, *arguments: Any) -> Any:
        """The value that *method* of :class:`benchmarks.worker.Worker` returns."""
        self.send(method, *arguments)
        return self.receive()

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
