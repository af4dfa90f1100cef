"""The proof can fail: with any rule of the protocol switched off, the explorer finds the stale answer."""

from collections.abc import Sequence

import pytest

from django_layercache.engine import Write
from tests.engine.explorer import explore
from tests.engine.mixes import MIXES
from tests.engine.mutants import MUTANTS, Mutant
from tests.engine.places import CommitFailed, Mutations, Place


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_without_this_rule_something_stale_is_answered(mutant: Mutant) -> None:
    report = explore(MIXES[mutant.mix], mutant.subject(), mutant.mutations)
    print(f"\n{mutant.rule}\n{report}")
    assert report.violation.startswith("stale"), f"nothing was found: {report}"


class ReturnsBeforeRelease(Mutations):
    def finish(self, place: Place, write: Write, name: str, tags: Sequence[str]) -> None:
        write.mark()
        try:
            place.commit(name, tags)
        except CommitFailed:
            write.release()
            return
        place.returned(name)
        write.release()


def test_hooks_that_run_before_the_release_read_nothing_stale_either() -> None:
    """Write rule 4 lets nothing of the user's run between COMMIT and release. Freshness does not need that much.

    As long as the marks are there, whoever comes in between bypasses the store. Where they could not be placed (the
    store was away) there is no such cover, and then the order of the rule is all there is.
    """
    mix = MIXES["two writers of one tag, one reader"]
    report = explore(mix, mutations=ReturnsBeforeRelease())
    assert not report.violation, str(report)
