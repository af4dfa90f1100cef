"""Where Django's tests come from: its source distribution, as they are not in its wheel."""

import subprocess
import sys
import tarfile
from pathlib import Path

__all__ = ["source_of"]


def source_of(wanted: str | None, work: Path) -> Path:
    """An unpacked source of Django: *wanted* is a version, a path, or ``None`` for what is installed."""
    if wanted is not None and Path(wanted).is_dir():
        return Path(wanted).resolve()
    if wanted is not None and Path(wanted).is_file():
        return _unpacked(Path(wanted), work)
    import django

    version = wanted or django.get_version()
    work.mkdir(exist_ok=True)
    found = list(work.glob(f"[Dd]jango-{version}.tar.gz"))
    return _unpacked(found[0] if found else _downloaded(version, work), work)


def _downloaded(version: str, work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "django"]
    subprocess.run([*command, f"Django=={version}", "-d", str(work)], check=True)
    return next(work.glob(f"[Dd]jango-{version}.tar.gz"))


def _unpacked(archive: Path, work: Path) -> Path:
    directory = work / archive.name.removesuffix(".tar.gz")
    if not directory.exists():
        with tarfile.open(archive) as files:
            files.extractall(work, filter="data")
    return directory
