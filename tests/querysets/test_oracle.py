"""The database itself as the oracle: hundreds of queries after each of many writes, and none differs."""

import random

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from tests.querysets.conftest import POSTGRES, SQLITE, use_store
from tests.querysets.oracle import FILTERS, QUERIES, SHAPES, WAYS, WRITES, Oracle, in_some_way
from tests.querysets.world import World, cached, elsewhere, uncached

SEED = 20


@pytest.mark.parametrize(
    ("alias", "store", "every"),
    (
        pytest.param("default", "local", 2, marks=SQLITE.marks, id="sqlite-local"),
        pytest.param("postgres", "redis", 5, marks=POSTGRES.marks, id="postgres-redis"),
    ),
)
def test_no_answer_differs_from_the_databases(alias, store, every, request, settings):
    use_store(request, settings, store)
    r = random.Random(SEED)
    w = World(alias)
    oracle = Oracle(w, list(QUERIES)[::every])
    assert oracle.compare() == []
    oracle.count.clear()
    writes = list(WRITES)
    r.shuffle(writes)
    for step, name in enumerate(writes):
        way = WAYS[step % len(WAYS)]
        sample = r.sample(oracle.queries, 25)
        wrong = in_some_way(way, WRITES[name], w, r, sample, oracle)
        assert wrong == [], f"inside, after {name} ({way}), seed {SEED}"
        assert oracle.compare() == [], f"after {name} ({way}), seed {SEED}"
    assert elsewhere(oracle.wrong, r.sample(oracle.queries, 25)) == []
    count = oracle.count
    print({name: round(number / count["asked"], 3) for name, number in count.items()})
    assert count["hit the second time"] >= 0.95 * count["asked"]
    assert count["needless"] <= MOST_NEEDLESS * count["asked"]


#: The part of all asks that may be rebuilt although what they give has not changed.
MOST_NEEDLESS = 0.45


@SQLITE.marks[0]
@bounds(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    filters=st.lists(st.sampled_from(sorted(FILTERS)), max_size=4),
    shape=st.sampled_from(sorted(SHAPES)),
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(WRITES)), st.integers(0, 5)), min_size=1, max_size=4
    ),
)
def test_no_composition_of_filters_differs(composed_world, filters, shape, steps):
    w = composed_world

    def read(w):
        queryset = w.all()
        for name in filters:
            queryset = FILTERS[name](queryset, w)
        return SHAPES[shape](queryset, w)

    cached(read, w)
    for name, seed in steps:
        WRITES[name](w, random.Random(seed))
        assert cached(read, w) == uncached(read, w) == cached(read, w)


@pytest.fixture
def composed_world(local_store):
    return World("default")
