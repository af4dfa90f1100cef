"""The proof for the `memcached` store, whose operations are several round trips: anybody may come between two of them.

Any item may vanish there, too, at any moment.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from django_layercache.stores import memcached_tags
from django_layercache.stores.memcached_commands import Set, Steps
from django_layercache.stores.memcached_items import Register
from django_layercache.stores.memcached_tags import Tags
from tests.engine.explorer import Mix, Report, explore, wander
from tests.engine.memcached_model import MemcachedSubject, OnMemcached, asking_store
from tests.engine.mixes import A
from tests.engine.programs import reader, snapshot_reader, writer
from tests.engine.test_interleavings import WALKS, seed

__all__ = ["seed"]

#: Each pipeline is a step, or each command is.
WHOLE = OnMemcached(store=asking_store)
PARTED = OnMemcached(store=partial(asking_store, parted=True))
small = partial(Mix, (writer("A", "a"), reader("R", A)), tags=("a",), warm=(A,))
LARGE = Mix(
    (
        writer("A", "a"),
        writer("B", "a"),
        reader("R", A),
        reader("T", A),
        snapshot_reader("S", A, A),
    ),
    {"lose t": 3, "lose q": 1, "lose r": 1, "lose head": 1, "flush": 1, "expire": 1, "grace": 2},
    tags=("a",),
    warm=(A,),
)

SMALL: Mapping[str, tuple[OnMemcached, Mapping[str, int]]] = {
    "a writer and a reader, command by command": (PARTED, {}),
    "a tag that vanishes": (WHOLE, {"lose t": 1}),
    "a register that vanishes": (WHOLE, {"lose r": 1}),
    "a sequence that vanishes": (WHOLE, {"lose q": 1}),
}


def trusts() -> Steps[bool]:
    """Whatever has happened."""
    yield from ()
    return True


#: Rules, what takes their place, and what has to happen for the fault to show.
SWITCHED_OFF: Mapping[str, tuple[tuple[Any, str, Any], Mapping[str, int]]] = {
    "a tag is swapped if nobody has changed it": (
        (memcached_tags, "Cas", lambda key, value, unique, ttl=0: Set(key, value, ttl)),
        {"lose t": 1},
    ),
    "who publishes asks the register": (
        (Register, "marks", lambda self, tag: {}),
        {"lose t": 1},
    ),
    "without a register nothing is published before the grace is over": (
        (Tags, "_is_trusted", lambda self, head, item: trusts()),
        {"flush": 1},
    ),
}


def is_fine(report: Report) -> bool:
    assert not report.violation, str(report)
    # A cache that always bypasses would pass, too.
    return report.counts["hit"] >= 5 and report.counts["returned"] >= 20


@pytest.mark.parametrize("name", SMALL)
def test_nothing_stale_is_answered_in_any_interleaving_of(name: str) -> None:
    mutations, budgets = SMALL[name]
    # If anybody may come between its commands, a read is judged by what had returned when it began.
    mix = small(budgets=budgets, lenient=mutations is PARTED)
    report = explore(mix, MemcachedSubject(), mutations)
    assert is_fine(report), f"hardly anything was a hit: {report}"


@pytest.mark.parametrize(("mutations", "walks"), ((WHOLE, WALKS // 5), (PARTED, WALKS // 20)))
def test_nothing_stale_is_answered_on_random_ways_whatever_vanishes(
    mutations: OnMemcached, walks: int, seed: int
) -> None:
    mix = replace(LARGE, lenient=mutations is PARTED)
    report = wander(mix, walks, seed, MemcachedSubject(), mutations)
    assert not report.violation, str(report)


@pytest.mark.parametrize("rule", SWITCHED_OFF)
def test_without_this_rule_something_stale_is_answered(rule: str) -> None:
    patch, budgets = SWITCHED_OFF[rule]
    mutations = OnMemcached(store=asking_store, patches=(patch,))
    report = explore(small(budgets=budgets), MemcachedSubject(), mutations)
    print(f"\n{rule}\n{report}")
    assert report.violation.startswith("stale"), f"nothing was found: {report}"
