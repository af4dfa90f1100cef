"""Certificates of the servers that speak TLS."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Certificate:
    """One for 127.0.0.1, signed by itself, and its key: files in *directory*."""

    def __init__(self, directory: Path) -> None:
        self.path, self.key = directory / "certificate.pem", directory / "key.pem"
        request = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        )
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(self.key), "-out", str(self.path)]
        subprocess.run([*request.split(), *names, *files], check=True, capture_output=True)

    def settings(self, port: int) -> dict[str, str]:
        """What a Redis server is to be told, so that it speaks TLS on *port*, and to other servers."""
        return {
            "tls-port": str(port),
            "tls-cert-file": str(self.path),
            "tls-key-file": str(self.key),
            "tls-ca-cert-file": str(self.path),
            "tls-auth-clients": "no",
            "tls-replication": "yes",
        }
