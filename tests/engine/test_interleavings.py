"""The proof: no interleaving of the real code, and nothing that the environment may do, makes it answer stale."""

import os
import random

import pytest

from tests.engine.explorer import Mix, explore, wander
from tests.engine.mixes import LARGE_MIXES, MIXES
from tests.engine.mutants import MUTANTS

WALKS = 200


@pytest.fixture
def seed() -> int:
    """Of the random walks; LAYERCACHE_SEED repeats one."""
    number = int(os.environ.get("LAYERCACHE_SEED") or random.randrange(2**32))
    print(f"LAYERCACHE_SEED={number}")
    return number


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES.keys())
def test_nothing_stale_is_answered_in_any_interleaving_of(mix: Mix) -> None:
    report = explore(mix)
    assert not report.violation, str(report)
    # A cache that always bypasses would pass, too.
    hits = report.counts["hit"] + report.counts["snapshot hit"]
    assert hits >= 5, f"hardly anything was a hit: {report}"
    assert report.counts["returned"] >= 20, str(report)


@pytest.mark.parametrize("mix", LARGE_MIXES.values(), ids=LARGE_MIXES.keys())
def test_nothing_stale_is_answered_on_random_ways_through(mix: Mix, seed: int) -> None:
    report = wander(mix, WALKS, seed)
    assert not report.violation, str(report)
    assert report.counts["hit"] >= WALKS / 10, f"hardly anything was a hit: {report}"


def test_random_ways_find_what_a_missing_rule_breaks(seed: int) -> None:
    (mutant,) = (mutant for mutant in MUTANTS if "removes its own mark only" in mutant.rule)
    mix = LARGE_MIXES["three writers, three readers, two tags"]
    report = wander(mix, 100 * WALKS, seed, mutant.subject(), mutant.mutations)
    assert report.violation.startswith("stale"), str(report)


def test_a_run_of_the_same_schedule_ends_in_the_same_state() -> None:
    mix = MIXES["two writers of one tag, one reader"]
    assert str(wander(mix, 20, seed=5)) == str(wander(mix, 20, seed=5))
