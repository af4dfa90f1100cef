"""The lab: the experiments of the `demo` command, one at a time, in the browser."""

from __future__ import annotations

import threading
from contextvars import Context

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from showcase.edits import Edit, all_edits
from showcase.experiments import Bench, Result, label
from showcase.probes import Probe, all_probes
from showcase.subjects import NothingToShow, Subjects

#: Two experiments at a time would see each other's edits.
_one_at_a_time = threading.Lock()


def lab(request: HttpRequest) -> HttpResponse:
    """Choose an edit; it is done, looked at through every probe, and undone."""
    try:
        subjects = Subjects.choose()
    except NothingToShow as nothing:
        return render(request, "showcase/lab.html", {"nothing": str(nothing)})
    edits, probes = all_edits(subjects), all_probes(subjects)
    context: dict[str, object] = {
        "edits": edits,
        "probes": [(probe.kind, probe.name) for probe in probes],
    }
    chosen = next((edit for edit in edits if edit.slug == request.POST.get("edit")), None)
    if chosen:
        # In a context of its own: the experiment is no part of this page, of what it depends on or of its strip.
        result = Context().run(_try_out, chosen, probes)
        context |= {"chosen": chosen, "result": result, "rows": _rows(probes, result)}
    return render(request, "showcase/lab.html", context)


def _try_out(edit: Edit, probes: list[Probe]) -> Result:
    with _one_at_a_time:
        return Bench(probes).try_out(edit)


def _rows(probes: list[Probe], result: Result) -> list[dict[str, object]]:
    return [
        {"kind": probe.kind, "name": probe.name, "verdict": result.verdicts[label(probe)]}
        for probe in probes
    ]
