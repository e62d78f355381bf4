import inspect

import keras
import pytest

from keras_griffin.layers import CGLRU, RGLRU, MinGRU
from keras_griffin.layers.base.configured import Configured, argument_names

pytestmark = pytest.mark.any_backend


class Own(Configured, keras.layers.Layer):
    def __init__(self, size: int, *, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.inner = inner


class Under(Own):
    def __init__(self, size: int, share: bool = False, **kwargs):
        super().__init__(size, **kwargs)
        self.share = share


class Answering(RGLRU):
    """Answers for its own arguments, as with every Keras layer."""

    def __init__(self, strength=1.0, **kwargs):
        super().__init__(**kwargs)
        self.own_strength = strength

    def get_config(self):
        return {**super().get_config(), "strength": self.own_strength}


def test_every_argument_of_every_class_is_there():
    config = Under(3, share=True, inner=keras.layers.Dense(2), name="under").get_config()
    assert (config["size"], config["share"], config["name"]) == (3, True, "under")
    assert config["inner"]["class_name"] == "Dense"
    assert list(Under(3).get_config())[-3:] == ["size", "share", "inner"]
    assert {"num_gate_blocks", "return_sequences", "maximum_phase", "dtype"} <= set(CGLRU().get_config())


class Fixed(Under):
    """Hands nothing on."""

    def __init__(self, share: bool = True):
        super().__init__(3, share)


def test_a_constructor_takes_what_it_hands_on():
    assert argument_names(Under) == ("size", "share", "inner")
    assert argument_names(Fixed) == ("share",)


def test_the_signature_of_a_class_has_the_arguments_that_it_hands_on():
    assert str(inspect.signature(Under)) == "(size: int, share: bool = False, *, inner=None, **kwargs)"
    assert str(inspect.signature(Fixed)) == "(share: bool = True)"
    options = inspect.signature(MinGRU).parameters
    assert [*options] == [
        *("units", "activation", "return_sequences", "return_state", "go_backwards", "stateful", "kwargs")
    ]
    assert options["stateful"].annotation is bool and options["stateful"].default is False
    assert "maximum_phase" in inspect.signature(CGLRU).parameters and "exponent" in inspect.signature(CGLRU).parameters
    # An instance is called as a layer.
    assert "inputs" not in inspect.signature(MinGRU).parameters and not hasattr(MinGRU(), "__signature__")


def test_a_subclass_may_answer_for_its_own_arguments():
    config = Answering(strength=2.0, num_gate_blocks=4).get_config()
    assert (config["strength"], config["num_gate_blocks"], config["return_sequences"]) == (2.0, 4, False)
    assert Answering.from_config(config).own_strength == 2.0


def test_an_argument_that_is_not_kept_is_found():
    class Forgetful(Own):
        def __init__(self, size, lost=1):
            super().__init__(size)

    with pytest.raises(AttributeError, match="lost"):
        Forgetful(3).get_config()
