"""What somebody has planted in a real Redis, under a key that is in use: a counted miss, and then a hit again."""

import pickle
import secrets
from collections.abc import Iterator

import pytest
from django.core.cache import caches

from django_layercache.engine import Engine
from django_layercache.handlers import pool_of
from django_layercache.serializers.rows import RowsCodec
from django_layercache.serializers.signed import SignedCodec
from django_layercache.stores.entries import unpack
from django_layercache.stores.redis import RedisStore
from tests.engine.tools import Builder, recipe
from tests.fuzz.decoders import nothing_runs
from tests.fuzz.test_decoders import Exploit

EXPLOIT = pickle.dumps(Exploit())
CODECS = {"objects": SignedCodec("k"), "rows": RowsCodec}


class Place:
    """The entry under ``k`` of a namespace."""

    def __init__(self) -> None:
        self.namespace = secrets.token_hex(4)
        self.stores: list[RedisStore] = []
        self.engine = self.process()
        self.client = self.engine.store.client
        self.name = f"layercache:1:{{{self.namespace}}}:e:k"

    def process(self) -> Engine:
        store = RedisStore(pool_of(caches["redis"]), namespace=self.namespace, grace=0.0)
        self.stores.append(store)
        return Engine(store, jitter=0.0)

    @property
    def data(self) -> bytes:
        return self.client.get(self.name)

    @property
    def header(self) -> bytes:
        return self.data[: len(self.data) - len(unpack("k", self.data).payload)]


def _pickle(place: Place) -> bytes:
    return EXPLOIT


def _pickle_in_an_entry(place: Place) -> bytes:
    return place.header + EXPLOIT


def _pickle_that_looks_signed(place: Place) -> bytes:
    return place.header + b"P1" + bytes(20) + EXPLOIT


def _of_another_key(place: Place) -> bytes:
    wanted = recipe("l", "a", codec=RowsCodec)
    place.engine.get_or_build(wanted, Builder([("another key's",)]))
    return place.client.get(place.name[:-1] + "l")


def _signed_for_another_user(place: Place) -> bytes:
    return place.header + SignedCodec("k of another user").dumps([("another user's",)])


def _another_format(place: Place) -> bytes:
    return b"L1" + place.data[2:]


def _another_format_in_an_entry(place: Place) -> bytes:
    return place.header + b"R9" + place.data[len(place.header) + 2 :]


def _cut_off(place: Place) -> bytes:
    return place.data[:-1]


def _bomb(place: Place) -> bytes:
    return place.header + b"Z1\xff\xff\xff\xff" + bytes(100)


PLANTED = (
    _pickle,
    _pickle_in_an_entry,
    _pickle_that_looks_signed,
    _of_another_key,
    _signed_for_another_user,
    _another_format,
    _another_format_in_an_entry,
    _cut_off,
    _bomb,
)


@pytest.fixture
def place(redis_server: object) -> Iterator[Place]:
    made = Place()
    yield made
    for store in made.stores:
        store.close()
    made.client.delete(*made.client.scan_iter(f"*{made.namespace}*"))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("plant", PLANTED)
def test_what_was_planted_is_a_counted_miss(place: Place, plant, codec: str) -> None:
    value = [("mine", 1)]
    wanted = recipe("k", "a", codec=CODECS[codec])
    for _ in range(2):
        assert place.engine.get_or_build(wanted, Builder(value)) == value
    for engine in (
        place.engine,
        place.process(),
    ):  # one that has seen the entry, and one that has not
        place.client.set(place.name, plant(place))
        engine.counts.clear()
        with nothing_runs():
            assert engine.get_or_build(wanted, Builder(value)) == value
        assert engine.counts == {("tests", "undecodable"): 1, ("tests", "miss"): 1}
        assert engine.get_or_build(wanted, Builder("not built")) == value
