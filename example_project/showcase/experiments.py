"""Do an edit and look: what was rebuilt, what stayed, and is every answer the one that the database gives?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from showcase.edits import Edit
from showcase.probes import Probe, Sight, look, look_past_caches, warm


class Verdict(Enum):
    """What an edit did to a probe. The value says it in words."""

    STAYED = "stayed"
    REBUILT = "rebuilt"
    REBUILT_SAME = "rebuilt, same answer"
    BYPASSED = "not cached"
    STALE = "STALE"


@dataclass(frozen=True)
class Result:
    """What one edit did to all probes. `failures` is empty if all is as it has to be."""

    edit: Edit
    verdicts: dict[str, Verdict]
    failures: tuple[str, ...]

    def having(self, *verdicts: Verdict) -> list[str]:
        """The probes that one of these happened to."""
        return [name for name, verdict in self.verdicts.items() if verdict in verdicts]

    @property
    def rebuilt(self) -> list[str]:
        """The probes whose answer had to be built again."""
        return self.having(Verdict.REBUILT, Verdict.REBUILT_SAME)

    @property
    def stayed(self) -> list[str]:
        """The probes that were answered from the store."""
        return self.having(Verdict.STAYED)


def label(probe: Probe) -> str:
    """The probe's name with its kind: `page countries`."""
    return f"{probe.kind} {probe.name}"


class Bench:
    """A set of probes, all warm, and their answers from before any edit."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes = probes
        self.baseline = {label(probe): look_past_caches(probe) for probe in probes}
        self.cold = [label(probe) for probe in probes if not warm(probe)]

    def try_out(self, edit: Edit) -> Result:
        """Do one edit, look at everything, undo the edit, look at everything again."""
        self.warm_up()
        with edit.done():
            # From the inside out: a page that is rebuilt rebuilds the fragments in it, and they would look untouched.
            sights = {label(probe): look(probe) for probe in reversed(self.probes)}
            truth = {label(probe): look_past_caches(probe) for probe in self.probes}
        verdicts = {name: self._judge(name, sights[name], truth[name]) for name in truth}
        return Result(edit, verdicts, tuple(self._failures(edit, verdicts, truth)))

    def warm_up(self) -> None:
        """Have every answer in its store again."""
        for probe in self.probes:
            if label(probe) not in self.cold:
                warm(probe)

    def _judge(self, name: str, sight: Sight, truth: Any) -> Verdict:
        if sight.answer != truth:
            return Verdict.STALE
        if sight.outcome == "hit":
            return Verdict.STAYED
        if sight.outcome == "bypass":
            return Verdict.BYPASSED
        return Verdict.REBUILT_SAME if truth == self.baseline[name] else Verdict.REBUILT

    def _failures(
        self, edit: Edit, verdicts: dict[str, Verdict], truth: dict[str, Any]
    ) -> Iterable[str]:
        for name, verdict in verdicts.items():
            if verdict is Verdict.STALE:
                yield f"{name}: stale after “{edit.title}”"
        for name in edit.changes:
            if name in truth and truth[name] == self.baseline[name]:
                yield f"{name}: was not changed by “{edit.title}”, so the experiment shows nothing"
        for probe in self.probes:
            name = label(probe)
            if look(probe).answer != self.baseline[name]:
                yield f"{name}: not what it was before, after “{edit.title}” was undone"
