"""What the editors say: an announcement and a pick. Kept in small files, outside of the database.

No cache can see a file change. So whoever reads one names what it read (`depends_on`), and whoever writes one says
so (`invalidate`). All pages that show the announcement are rebuilt then, and no others.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

from django_layercache import cached, depends_on, invalidate

ANNOUNCEMENT = "announcement"
EDITORS_PICK = "editors-pick"

DEFAULT_PICK = "LOWI"


def announcement() -> str:
    """The announcement at the top of each page, or an empty string."""
    depends_on(ANNOUNCEMENT)
    return _read(ANNOUNCEMENT)


def announce(text: str) -> None:
    """Replace the announcement."""
    _write(ANNOUNCEMENT, text)
    invalidate(ANNOUNCEMENT)


@cached(timeout=3600, tags=(EDITORS_PICK,))
def editors_pick() -> str:
    """The code of the airport that the editors recommend."""
    return _read(EDITORS_PICK) or DEFAULT_PICK


def pick(code: str) -> None:
    """Recommend another airport."""
    _write(EDITORS_PICK, code)
    invalidate(EDITORS_PICK)


def _file(name: str) -> Path:
    return Path(settings.VAR_DIR) / f"{name}.txt"


def _read(name: str) -> str:
    try:
        return _file(name).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _write(name: str, text: str) -> None:
    """Replace a file in one step: a reader sees the old text or the new, never half of it."""
    draft = _file(name).with_suffix(f".{os.getpid()}.draft")
    draft.write_text(text.strip() + "\n", encoding="utf-8")
    draft.replace(_file(name))
