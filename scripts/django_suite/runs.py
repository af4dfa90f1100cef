"""One group of apps in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from groups import Group
from places import Place

__all__ = ["Run"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """*limit* is in seconds; what takes longer is ended."""

    source: Path
    work: Path
    place: Place
    group: Group
    limit: int

    def plain(self, *, anew: bool) -> dict[str, Any]:
        """The results of Django alone, of an earlier run if there was one with the same group."""
        kept = self._file("plain", self.place.baseline)
        if kept.exists() and not anew:
            results: dict[str, Any] = json.loads(kept.read_text())
            if results["run"] is not None:
                return results
        return self._results(kept, plain=True)

    def cached(self) -> dict[str, Any]:
        """The results with the library."""
        file = self._file("cached", f"{self.place.baseline}-{self.place.store}")
        return self._results(file, plain=False)

    def _file(self, kind: str, place: str) -> Path:
        name = "+".join(self.group)[:80]
        return self.work / self.source.name / place / kind / f"{name}.json"

    def _results(self, file: Path, *, plain: bool) -> dict[str, Any]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        options = self.place.options(self.group, plain=plain) | {"results": str(file)}
        began = monotonic()
        with file.with_suffix(".log").open("w") as log:
            command = [sys.executable, str(_HERE / "worker.py"), json.dumps(options)]
            # In a group of its own: the tests of servers start processes, too.
            process = subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self.source / "tests",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(self.limit)
            except BaseException as error:
                os.killpg(process.pid, 9)
                process.wait()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
        results = json.loads(file.read_text()) if file.exists() else _no_results(log.name)
        results["seconds"] = round(monotonic() - began, 1)
        file.write_text(json.dumps(results, indent=1))
        return results

    def _environment(self) -> dict[str, str]:
        path = [str(self.source), str(_HERE), str(_HERE.parents[1] / "src")]
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")},
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "suite_settings",
        }


def _no_results(log: str) -> dict[str, Any]:
    last = Path(log).read_text(errors="replace")[-600:]
    return {"run": None, "skipped": 0, "failures": {}, "counts": {}, "reasons": {}, "wrong": [last]}
