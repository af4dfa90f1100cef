"""The same proof on the scripts of the `redis` store, while any of its keys may vanish at any moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from django.core.cache import caches

from django_layercache.handlers import pool_of
from django_layercache.stores import _lua
from tests.engine.explorer import Mix, explore
from tests.engine.mixes import AB, PAGE, A
from tests.engine.programs import reader, snapshot_reader, writer
from tests.engine.subjects import RedisSubject

WRITER_AND_READER = Mix(
    (writer("A", "a"), reader("R", A)),
    {"lose": 3, "expire": 1, "grace": 2},
    tags=("a",),
)
RESTART = Mix(
    (writer("A", "a"), reader("R", A, times=3)),
    {"restart": 2, "grace": 1, "lose": 1},
    tags=("a",),
)
TWO_WRITERS = Mix(
    (writer("A", "a"), writer("B", "a"), reader("R", A)),
    {"lose": 1, "expire": 1, "grace": 1, "fail": 1},
    tags=("a",),
)

MIXES = {
    "one writer, one reader": WRITER_AND_READER,
    "one writer, one reader, and a server that restarts with what it once held": RESTART,
    "two writers of one tag, one reader": TWO_WRITERS,
    "one writer, two readers": Mix(
        (writer("A", "a"), reader("R", A), reader("S", A)), {"lose": 1, "grace": 1}, tags=("a",)
    ),
    "a writer of two tags, a reader of both": Mix(
        (writer("A", "a", "b"), reader("R", AB, times=3)), {"lose": 3, "grace": 1}
    ),
    "two writers of tags that overlap, one reader of both": Mix(
        (writer("A", "a", "b"), writer("B", "b"), reader("R", AB)), {"lose": 1, "grace": 1}
    ),
    "a writer of two tags, a page over a fragment": Mix(
        (writer("A", "a", "b"), reader("R", PAGE)), {"lose": 1, "grace": 1}
    ),
    "a writer, a reader, a reader with a snapshot": Mix(
        (writer("A", "a"), reader("R", A, times=1), snapshot_reader("S", A, A)),
        {"lose": 1, "grace": 1},
        tags=("a",),
        warm=(A,),
    ),
    "a writer that reads what it has changed, and a reader": Mix(
        (writer("A", "a", then_ask=A), reader("R", A)),
        {"lose": 2, "expire": 1, "grace": 1},
        tags=("a",),
    ),
}

# Rules that only a server that loses things needs: a text of the scripts, what takes its place, and the mix that
# shows its fault.
SWITCHED_OFF = {
    "a mint consults the register": (
        "if next(live) or now < distrust then return '' end",
        "if now < distrust then return '' end",
        TWO_WRITERS,
    ),
    "without a register nothing is minted before the grace is over": (
        "if next(live) or now < distrust then return '' end",
        "if next(live) then return '' end",
        WRITER_AND_READER,
    ),
    "nor released": (
        "if now < distrust then redis.call('DEL', prefix .. 't:' .. ARGV[i])",
        "if false then",
        TWO_WRITERS,
    ),
    "a mark takes the token away": (
        "redis.call('DEL', prefix .. 't:' .. ARGV[i])\nend",
        "\nend",
        WRITER_AND_READER,
    ),
    "tokens of another generation do not count": (
        "string.sub(token, 1, #generation) == generation",
        "true",
        RESTART,
    ),
    "a server with another identity begins a generation": (
        "if before == identity then return end",
        "if true then return end",
        RESTART,
    ),
    "and does not trust itself before the grace is over": (
        "redis.call('DEL', register)\n    begin_generation(now + grace, ",
        "redis.call('DEL', register)\n    begin_generation(now, ",
        RESTART,
    ),
    "a release takes its own mark only": ("live[ARGV[5]] = nil", "live = {}", TWO_WRITERS),
}


@pytest.fixture
def subject(redis_server: object) -> Iterator[RedisSubject]:
    made = RedisSubject(pool_of(caches["redis"]))
    yield made
    made.client.delete(*made._names)
    made.store.close()


@contextmanager
def scripts_with(old: str, new: str) -> Iterator[None]:
    """The scripts of the stores that are made inside the block have *new* in place of *old*."""
    names = {name: text.replace(old, new) for name, text in _lua.NAMES.items()}
    prelude = _lua._PRELUDE.replace(old, new)
    assert (prelude, names) != (_lua._PRELUDE, _lua.NAMES), f"not in the scripts: {old}"
    with mock.patch.dict(_lua.NAMES, names), mock.patch.object(_lua, "_PRELUDE", prelude):
        yield


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES.keys())
def test_nothing_stale_is_answered_whatever_vanishes_from_redis(
    mix: Mix, subject: RedisSubject
) -> None:
    report = explore(mix, subject)
    assert not report.violation, str(report)
    hits = report.counts["hit"] + report.counts["snapshot hit"]
    assert hits >= 10, f"hardly anything was a hit: {report}"


@pytest.mark.parametrize("rule", SWITCHED_OFF)
def test_without_this_rule_something_stale_is_answered(rule: str, redis_server: object) -> None:
    old, new, mix = SWITCHED_OFF[rule]
    with scripts_with(old, new):
        subject = RedisSubject(pool_of(caches["redis"]))
    report = explore(mix, subject)
    print(f"\n{rule}\n{report}")
    assert report.violation.startswith("stale"), f"nothing was found: {report}"
