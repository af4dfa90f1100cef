"""What it was measured on: what decides the figures, and nothing that names the machine."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.services import PostgresServer, RedisServer

_PACKAGES = (
    "Django", "django-layercache", "django-cachalot", "django-cacheops", "redis", "psycopg",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """The processor, how many of it, and how busy they were before."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "load before": round(os.getloadavg()[0], 1),
    }


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    found = {"Python": platform.python_version()}
    found |= {package: version(package) for package in _PACKAGES}
    for title, server in (("Redis", RedisServer), ("PostgreSQL", PostgresServer)):
        if program := server.program():
            found[title] = _version_of(program)
    import sqlite3

    found["SQLite"] = sqlite3.sqlite_version
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else "unknown"


def _version_of(program: str) -> str:
    text = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"(?:v=|\) )(\d+(?:\.\d+)+)", text)
    return found.group(1) if found else "unknown"
