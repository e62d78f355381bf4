"""What follows from what a class declares."""

from typing import NamedTuple

import keras
import numpy as np
import pytest

from keras_griffin.layers.base.mixer import Mixer, ScaledMixer
from keras_griffin.layers.base.weights import StateSpec, Weight
from keras_griffin.testing.arrays import as_array


class RingState(NamedTuple):
    a: np.ndarray
    b: np.ndarray
    next: np.ndarray


class Ring(Mixer):
    state_type = RingState

    def __init__(self, size: int, *, share: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.size, self.share = size, share

    @classmethod
    def weights_of(cls, width, *, size, share=False):
        return {"a": Weight((width, size)), "b": Weight((size,))}

    @classmethod
    def state_of(cls, width, tokens, *, size, share=False):
        return {
            "a": StateSpec((min(tokens, size), width)),
            "b": StateSpec((width,), "float32", start=-1e30),
            "next": StateSpec((), "int32"),
        }


def test_counts():
    assert Ring.argument_names() == ("size", "share")
    assert Ring.parameter_count(5, size=3) == 18
    assert [Ring.cache_bytes(5, tokens, 2, size=3) for tokens in (0, 2, 9)] == [20, 40, 50]
    assert Ring.reach_of(size=3) is None and Ring.undecayed == ()


def test_arguments_with_the_constructors_defaults():
    given = Ring.with_defaults({"size": 3})
    assert (given.size, given.share) == (3, False)
    with pytest.raises(TypeError, match="missing a required argument: 'size'"):
        Ring.with_defaults({"share": True})
    assert ScaledMixer.with_defaults({}).output_variance_scale == 1.0


def test_a_state_starts_as_declared():
    layer = Ring(4, dtype="mixed_bfloat16")
    layer.build((None, None, 3))
    for state in (layer.initial_state(2), layer.initial_arrays(2)):
        assert isinstance(state, RingState)
        assert [keras.backend.standardize_dtype(part.dtype) for part in state] == ["bfloat16", "float32", "int32"]
        assert state.a.shape == (2, 0, 3)
        np.testing.assert_array_equal(as_array(state.b), np.full((2, 3), np.float32(-1e30)))
        np.testing.assert_array_equal(as_array(state.next), np.zeros(2))


def test_another_forward_pass_has_no_reach_until_it_says_so():
    class Near(Ring):
        def advance(self, inputs, state, *, reset=None, mask=None):
            return inputs, state

        @classmethod
        def reach_of(cls, *, size, share=False):
            return size

    class Same(Near):
        def build(self, inputs_shape):
            super().build(inputs_shape)

    class Another(Near):
        def call(self, inputs, reset=None, mask=None):
            return inputs

    class Anew(Another):
        @classmethod
        def reach_of(cls, *, size, share=False):
            return 2 * size

    assert [kind.divisible_reach_of(size=3) for kind in (Near, Same, Another, Anew)] == [3, 3, None, 6]
    assert Ring.divisible_reach_of(size=3) is None


def test_a_mixer_that_declares_nothing():
    for act, name in (
        (lambda: Mixer.arguments_for_model(None), "arguments_for_model"),
        (lambda: Mixer.parameter_count(5), "weights_of"),
        (lambda: Mixer.cache_bytes(5, 1, 2), "state_of"),
    ):
        with pytest.raises(NotImplementedError, match=rf"^{name}: Mixer must define it\.$"):
            act()
