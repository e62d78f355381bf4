"""What follows from what a mixer declares."""

import pytest

from keras_griffin.generation.state_io import STATE_TYPES
from keras_griffin.layers.declared import Declared, Kept, Weight, dense_weights
from keras_griffin.layers.mixer import Mixer

UNITS = ("num_heads", 3)


def declared(kind=Declared):
    """The package's classes with a type of state."""
    kinds = [each for subclass in kind.__subclasses__() for each in declared(subclass)]
    return kinds + [kind] * (hasattr(kind, "state_type") and kind.__module__.startswith("keras_griffin."))


def test_the_state_of_every_layer_can_be_saved():
    kinds = declared()
    assert len(kinds) > 15
    assert not [kind for kind in kinds if STATE_TYPES.get(kind.state_type.__name__) is not kind.state_type]


def test_the_weights_of_a_projection():
    assert dense_weights("up", 4, 6, 1, UNITS) == {
        "up/kernel": Weight((4, 6), 1, UNITS, stored=(0,)),
        "up/bias": Weight((6,), 0, UNITS),
    }
    # What adds up over the devices has its bias whole.
    assert dense_weights("down", 6, 4, 0, UNITS) == {
        "down/kernel": Weight((6, 4), 0, UNITS, stored=(1,)),
        "down/bias": Weight((4,)),
    }
    few = dense_weights("key", 4, 6, 1, UNITS, bias=False, must_split=False)
    assert few == {"key/kernel": Weight((4, 6), 1, UNITS, False, (0,))}


class Ring(Mixer):
    def __init__(self, size: int, *, share: bool = False, **kwargs):
        super().__init__(**kwargs)

    @classmethod
    def weights_of(cls, width, *, size, share=False):
        return {"a": Weight((width, size)), "b": Weight((size,))}

    @classmethod
    def kept_of(cls, width, tokens, *, size, share=False):
        return {"a": Kept((min(tokens, size), width)), "b": Kept((width,), "float32"), "next": Kept((), "int32")}


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
        (lambda: Mixer.cache_bytes(5, 1, 2), "kept_of"),
    ):
        with pytest.raises(NotImplementedError, match=rf"^{name}: Mixer must define it\.$"):
            act()
