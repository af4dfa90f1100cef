"""Every way of reading: answered from the cache the second time, with what Django would have given."""

import pytest

from tests.querysets.reading import READS, UNCACHEABLE
from tests.querysets.world import cached, outcomes, uncached, warm


@pytest.mark.parametrize("name", READS)
def test_a_read_is_answered_from_the_cache_the_second_time(world, name):
    read = READS[name]
    assert warm(read, world) == uncached(read, world)
    assert cached(read, world) == uncached(read, world)


@pytest.mark.parametrize("name", UNCACHEABLE)
def test_what_cannot_be_cached_is_answered_all_the_same(local_world, name):
    read = UNCACHEABLE[name]
    assert cached(read, local_world) == uncached(read, local_world)
    assert "hit" not in outcomes(read, local_world)
