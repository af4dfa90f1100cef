"""The proof for stores that keep tags in one place and entries in others: a read is not atomic there."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from django_layercache.stores.base import Entry, Reading
from tests.engine.explorer import explore
from tests.engine.mixes import MIXES
from tests.engine.places import EntryFirstStore, Mutations, TagsFirstStore

NAMES = (
    "two writers of one tag, one reader",
    "a writer of two tags, a reader whose tags become known while it builds",
    "two writers, one who asks for many at once",
    "a writer that writes twice, a reader",
)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stale_is_answered_where_the_entry_is_fetched_first(name: str) -> None:
    report = explore(MIXES[name], mutations=Mutations(store=EntryFirstStore))
    assert not report.violation, str(report)
    assert report.counts["hit"] >= 5, f"hardly anything was a hit: {report}"


@pytest.mark.parametrize("name", NAMES)
def test_nor_where_the_tags_are_fetched_first(name: str) -> None:
    """A hit is as fresh as its tags then, not as its entry: it may miss a COMMIT that has not returned yet."""
    mix = replace(MIXES[name], lenient=True)
    report = explore(mix, mutations=Mutations(store=TagsFirstStore))
    assert not report.violation, str(report)
    assert report.counts["hit"] >= 5, f"hardly anything was a hit: {report}"


def test_the_order_matters_to_whoever_wants_what_is_true_at_the_end_of_the_read() -> None:
    """Which is why the `cluster` store fetches the entry first. It shows, too, that this proof can fail."""
    report = explore(MIXES[NAMES[0]], mutations=Mutations(store=TagsFirstStore))
    assert report.violation.startswith("stale"), str(report)


class TrustsEntries(EntryFirstStore):
    """It takes the tokens in the entry for the current ones."""

    def _with_states(self, entry: Entry | None, tags: Sequence[str]) -> Reading:
        seen = super()._with_states(entry, tags)
        return replace(seen, states={**seen.states, **(entry.tokens if entry else {})})


def test_without_the_second_request_something_stale_is_answered() -> None:
    mix = replace(MIXES[NAMES[0]], lenient=True)
    report = explore(mix, mutations=Mutations(store=TrustsEntries))
    assert report.violation.startswith("stale"), str(report)
