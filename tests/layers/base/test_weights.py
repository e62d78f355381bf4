import keras
import numpy as np
import pytest

from keras_griffin.layers import Mixer, TemporalConv1D
from keras_griffin.layers.base.weights import Weight, block_weights, create_weights, dense_weights, within
from keras_griffin.layers.block_diagonal_dense import check_blocks
from keras_griffin.testing.arrays import as_array

UNITS = ("num_heads", 3)
DENSE = {"layer": "dense"}


def test_the_weights_of_a_projection():
    assert dense_weights("up", 4, 6, 1, UNITS) == {
        "up/kernel": Weight((4, 6), 1, UNITS, stored=(0,), **DENSE),
        "up/bias": Weight((6,), 0, UNITS),
    }
    # The bias of partial sums over devices is added once.
    assert dense_weights("down", 6, 4, 0, UNITS) == {
        "down/kernel": Weight((6, 4), 0, UNITS, stored=(1,), **DENSE),
        "down/bias": Weight((4,)),
    }
    few = dense_weights("key", 4, 6, 1, UNITS, bias=False, must_split=False)
    assert few == {"key/kernel": Weight((4, 6), 1, UNITS, False, (0,), **DENSE)}
    # Without groups, a channel is the smallest part.
    assert [dense_weights("x", 4, 6, split)["x/kernel"].units for split in (0, 1)] == [("units", 4), ("units", 6)]


def test_blocks_must_divide_both_widths():
    assert list(block_weights("gate", 6, 12, UNITS)) == ["gate/blocks/kernel", "gate/blocks/bias"]
    for widths in ((4, 6), (6, 4)):
        with pytest.raises(ValueError, match=r"num_blocks must divide .* Got num_blocks 3, input width \d and"):
            block_weights("gate", *widths, UNITS)
    check_blocks(3, 6, 12)


class Declaring(Mixer):
    """Every kind of weight, and a sublayer whose weights look like those of a projection."""

    @classmethod
    def weights_of(cls, width, **arguments):
        return {
            "scale": Weight((width,)),
            **dense_weights("up", width, 2 * width),
            **dense_weights("down", 2 * width, width, 0, bias=False),
            **block_weights("gate", width, 3 * width, ("num_gate_blocks", 2)),
            **within("conv", {"kernel": Weight((4, width)), "bias": Weight((width,))}),
        }

    def initializers(self):
        ones = keras.initializers.Ones()
        return {"up/kernel": ones, "up/bias": ones, "scale": lambda shape, dtype=None: 2 * ones(shape, dtype)}

    def build(self, inputs_shape):
        super().build(inputs_shape)
        self.conv = TemporalConv1D(name="conv")
        self.conv.build(inputs_shape)


def test_build_creates_what_is_declared():
    layer = Declaring(name="x", dtype="mixed_bfloat16")
    layer.build((None, None, 6))
    declared = {path: weight.shape for path, weight in layer.weights_of(6).items()}
    assert {weight.path.removeprefix("x/"): tuple(weight.shape) for weight in layer.weights} == declared
    kinds = [type(part).__name__ for part in (layer.up, layer.gate, layer.conv)]
    assert kinds == ["Dense", "BlockDiagonalDense", "TemporalConv1D"]
    assert layer.down.bias is None and layer.up.dtype_policy.name == layer.gate.dtype_policy.name == "mixed_bfloat16"
    for weight, value in ((layer.up.kernel, 1), (layer.up.bias, 1), (layer.scale, 2)):
        np.testing.assert_array_equal(as_array(weight), value)
    assert as_array(layer.down.kernel).std() > 0
    names = [name for name, _ in create_weights(Declaring(), {"b": Weight((1,)), "a": Weight((1,))}, {})]
    assert names == ["b", "a"]


@pytest.mark.parametrize("name", ["call", "output", "rate"])
def test_a_weight_needs_a_name_of_its_own(name):
    class Clashing(Mixer):
        def __init__(self, rate=1.0, **kwargs):
            super().__init__(**kwargs)
            self.rate = rate

        @classmethod
        def weights_of(cls, width, **arguments):
            return {name: Weight((width,))}

    with pytest.raises(ValueError, match=rf"^Clashing: a weight must not have the name .* Got '{name}'\.$"):
        Clashing().build((None, None, 4))
