"""The proof with a near tier in each process: what it keeps is part of who is explored, not of the store."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from django_layercache.stores import near, near_request
from django_layercache.stores.base import Reading
from django_layercache.stores.near import NearStore
from django_layercache.stores.near_request import RequestTokens, token_snapshot
from tests.engine.explorer import Mix, explore
from tests.engine.mixes import AB, PAGE, A, B, one_process
from tests.engine.places import AskingStore, Mutations, Place, Process, Program, _transaction
from tests.engine.programs import (
    ask,
    ask_many,
    begin_snapshot,
    change,
    reader,
    snapshot_reader,
    writer,
)

MIXES = {
    "one writer, two readers": Mix(
        (writer("A", "a"), reader("R", A), reader("S", A, times=1)), {"evict": 1}, tags=("a",)
    ),
    "one writer, one reader, and a store that is reset": Mix(
        (writer("A", "a"), reader("R", A)),
        {"evict": 1, "reset": 1},
        tags=("a",),
    ),
    "two writers of tags that overlap, one reader of both": Mix(
        (writer("A", "a", "b"), writer("B", "b"), reader("R", AB)), {}
    ),
    "a writer that reads what it has changed, and a reader": Mix(
        (writer("A", "a", then_ask=A), reader("R", A)), {"expire": 1, "fail": 1}, tags=("a",)
    ),
    "a writer, a reader with a snapshot": Mix(
        (writer("A", "a"), snapshot_reader("S", A, A)), {"evict": 1}, tags=("a",), warm=(A,)
    ),
    "a writer of two tags, a page over a fragment": Mix(
        (writer("A", "a", "b"), reader("R", PAGE)), {"fail": 1}
    ),
    "a writer of two tags, one who asks for many at once": Mix(
        (writer("A", "a", "b"), Process("R", ((ask_many(A, AB), ask_many(A, AB)),))), {}
    ),
}
STRICT = Mutations(store=lambda: NearStore(AskingStore()), remembers=True)


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES.keys())
def test_nothing_stale_is_answered_near_and_strict(mix: Mix) -> None:
    report = explore(mix, mutations=STRICT)
    assert not report.violation, str(report)
    hits = report.counts["hit"] + report.counts["snapshot hit"]
    assert hits, f"nothing was a hit: {report}"


def test_without_comparing_tokens_something_stale_is_answered() -> None:
    patch = (near, "_is_current", lambda entry, reading: True)

    class UsesWhatItHas(NearStore):
        def read(self, key: str | None, tags: Sequence[str]) -> Reading:
            seen = super().read(key, tags)
            if seen.entry is None or seen.slot is None:
                return seen
            return replace(seen, states={**seen.states, **seen.entry.tokens})

    mutations = Mutations(
        store=lambda: UsesWhatItHas(AskingStore()), remembers=True, patches=(patch,)
    )
    report = explore(MIXES["one writer, two readers"], mutations=mutations)
    assert report.violation.startswith("stale"), str(report)


# -- one snapshot of tokens for each request ---------------------------------------------------


def request(*programs: Program) -> Program:
    def program(place: Place) -> None:
        with token_snapshot():
            for one in programs:
                if place.transaction.snapshot is None:
                    place.transaction = place.mutations.transaction()
                one(place)

    return program


TWICE = request(ask(A), ask(B), ask(A))


def requests_among(*processes: Process, **more: Any) -> Mix:
    """Requests are judged by what had returned when they began, and by their snapshot if they have one."""
    return Mix(processes, lenient=True, with_sequence=True, warm=(A,), **more)


REQUESTS = {
    "one writer, two requests": requests_among(
        writer("A", "a"), Process("R", ((TWICE, TWICE),)), budgets={"evict": 1, "fail": 1}
    ),
    "a request that changes what it has read, and one who reads it again": requests_among(
        Process("R", ((request(ask(A), change("A", "a")), TWICE),)), reader("S", A, times=1)
    ),
    "two threads of one process, one of which writes": requests_among(
        one_process((TWICE, TWICE), (change("A", "a"),))
    ),
    "a writer of two tags, a request for a page over a fragment": requests_among(
        writer("A", "a", "b"), Process("R", ((request(ask(PAGE), ask(A)), request(ask(PAGE))),))
    ),
    "a writer, a request with a transaction with a snapshot": requests_among(
        writer("A", "a"), Process("R", ((request(ask(A), begin_snapshot, ask(A)),),))
    ),
}


def _sees_snapshot() -> bool:
    return _transaction().snapshot is not None


def in_requests(**parts: object) -> Mutations:
    return Mutations(
        store=lambda: NearStore(
            AskingStore(), RequestTokens(), **{"must_ask": _sees_snapshot, **parts}
        ),
        remembers=True,
    )


@pytest.mark.parametrize("mix", REQUESTS.values(), ids=REQUESTS.keys())
def test_no_request_is_answered_from_before_its_own_start(mix: Mix) -> None:
    report = explore(mix, mutations=in_requests())
    assert not report.violation, str(report)
    hits = report.counts["hit"] + report.counts["snapshot hit"]
    assert hits, f"nothing was a hit: {report}"


def test_a_request_is_answered_from_before_what_is_committed_after_its_start() -> None:
    """Which is what the level is. It shows, too, that the mixes above are large enough to tell."""
    mix = replace(REQUESTS["one writer, two requests"], lenient=False)
    assert explore(mix, mutations=in_requests()).violation.startswith("stale")


def test_in_a_transaction_with_a_snapshot_known_tokens_must_not_be_used() -> None:
    mix = REQUESTS["a writer, a request with a transaction with a snapshot"]
    report = explore(mix, mutations=in_requests(must_ask=lambda: False))
    assert report.violation.startswith("stale"), str(report)


def _forgets_nothing(self: RequestTokens, tags: Sequence[str]) -> None:
    pass


def in_one_request(program: Program) -> Program:
    """All of these are in one request, in whichever thread they are."""

    def in_it(place: Place) -> None:
        known = vars(place.engine)
        snapshot = known.setdefault("one request", near_request._Snapshot())
        near_request._open.add(snapshot)
        near_request._current.set(snapshot)
        program(place)

    return in_it


def ask_both(place: Place) -> None:
    place.get(B)  # what is asked first is known to be asked after the change had returned
    place.get(A)


CHANGE_AND_ASK = (in_one_request(change("A", "a")), in_one_request(ask_both))


def test_a_request_sees_what_it_changes() -> None:
    mix = requests_among(one_process(CHANGE_AND_ASK, (in_one_request(ask(A)),)))
    report = explore(mix, mutations=in_requests())
    assert not report.violation, str(report)


def test_if_it_did_not_forget_what_it_changes_it_would_not() -> None:
    mix = requests_among(one_process(CHANGE_AND_ASK, (in_one_request(ask(A)),)))
    mutations = replace(in_requests(), patches=((RequestTokens, "forget", _forgets_nothing),))
    report = explore(mix, mutations=mutations)
    assert report.violation.startswith("stale"), str(report)
