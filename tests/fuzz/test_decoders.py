"""No bytes make a decoder raise anything but `Undecodable`, run anything, or take more room than it may."""

import os
import pickle
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_layercache.exceptions import Undecodable, UnkeyableArgument
from django_layercache.serializers.keyable import canonical
from tests.fuzz.decoders import DECODERS, LIMIT, CodeRan, Decoder, decode_safely

names = pytest.mark.parametrize("name", DECODERS)
#: What has a meaning in one format or another.
PIECES = st.sampled_from(
    [b"\xff", b"\0", b"[", b"]", b'"', b",", b"{", b"1e999", b"null", b"\x80\x04."]
)


@st.composite
def mutated(draw, samples):
    """A sample with some bytes of it replaced, put in, taken out, or cut off."""
    data = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 0, 1, 1, 4, len(data)]))
        data = data[:at] + draw(st.binary(max_size=8) | PIECES) + data[at + length :]
    return data


@names
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_nothing_but_undecodable_comes_out(name, data):
    decoder = DECODERS[name]
    prefix = data.draw(st.sampled_from([b"", *{sample[:3] for sample in decoder.samples}]))
    hostile = st.binary(max_size=60).map(prefix.__add__) | mutated(decoder.samples)
    decode_safely(decoder, data.draw(hostile))


@names
def test_every_beginning_of_a_sample_is_safe(name):
    for sample in DECODERS[name].samples:
        for end in range(len(sample)):
            decode_safely(DECODERS[name], sample[:end])


@names
def test_samples_are_decodable(name):
    for sample in DECODERS[name].samples[:1]:
        assert decode_safely(DECODERS[name], sample) is not Undecodable


@names
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_decoding_takes_no_more_room_than_it_may(name, data):
    decoder = DECODERS[name]
    hostile = data.draw(mutated(decoder.samples))
    tracemalloc.start()
    try:
        decode_safely(decoder, hostile)
        assert tracemalloc.get_traced_memory()[1] < 3 * LIMIT
    finally:
        tracemalloc.stop()


class Exploit:
    def __reduce__(self):
        return os.getcwd, ()


@names
def test_a_pickle_runs_nothing(name):
    for start in (b"", *(sample[:2] for sample in DECODERS[name].samples)):
        data = start + pickle.dumps(Exploit())
        # What is not compressed is handed on as it is.
        assert decode_safely(DECODERS[name], data) in {None, Undecodable, data}


def test_the_watch_sees_what_runs():
    with pytest.raises(CodeRan):
        decode_safely(Decoder(pickle.loads, ()), pickle.dumps(Exploit()))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.just(object())
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(values)
def test_any_argument_is_keyable_or_refused(value):
    try:
        assert canonical(value) == canonical(value)
    except UnkeyableArgument:
        pass
