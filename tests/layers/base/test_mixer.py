"""What follows from what a mixer declares."""

import pytest

from keras_griffin.layers.base.declared import StateSpec
from keras_griffin.layers.base.mixer import Mixer
from keras_griffin.layers.base.weights import Weight

pytestmark = pytest.mark.any_backend


class Ring(Mixer):
    def __init__(self, size: int, *, share: bool = False, **kwargs):
        super().__init__(**kwargs)

    @classmethod
    def weights_of(cls, width, *, size, share=False):
        return {"a": Weight((width, size)), "b": Weight((size,))}

    @classmethod
    def state_of(cls, width, tokens, *, size, share=False):
        return {
            "a": StateSpec((min(tokens, size), width)),
            "b": StateSpec((width,), "float32"),
            "next": StateSpec((), "int32"),
        }


def test_counts():
    assert Ring.argument_names() == ("size", "share")
    assert Ring.parameter_count(5, size=3) == 18
    assert [Ring.cache_bytes(5, tokens, 2, size=3) for tokens in (0, 2, 9)] == [20, 40, 50]
    assert Ring.reach_of(size=3) is None and Ring.undecayed == ()


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
