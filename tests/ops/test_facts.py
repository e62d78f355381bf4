"""What is known before a call: whether tensors hold numbers."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan, local_attention, use_implementation
from keras_griffin.ops.implementation import Facts, find_op
from keras_griffin.testing.gradients import value_and_gradient

NUMBERS = np.random.default_rng(0).uniform(0.1, 0.9, (1, 4, 2)).astype("float32")
USES = {
    "linear_scan": lambda x: linear_scan(x, x)[0],
    "local_attention": lambda x: local_attention(x[:, :, None], x[:, :, None], x[:, :, None], 2),
}


@pytest.mark.parametrize("name", USES)
def test_the_reference_computes_where_there_are_values(name):
    with use_implementation(name, "reference"):
        USES[name](ops.convert_to_tensor(NUMBERS))


@pytest.mark.trainable
@pytest.mark.parametrize("name", USES)
def test_the_reference_refuses_to_be_compiled_or_differentiated(name):
    def loss(x):
        return ops.sum(USES[name](x))

    with use_implementation(name, "reference"):
        with pytest.raises(ValueError, match=rf"{name}: .* 'reference' .* It can't be compiled or differentiated;"):
            value_and_gradient(loss, NUMBERS)


@pytest.mark.parametrize(("device", "dtype"), [("gpu", "float32"), ("cpu", "bfloat16")])
def test_the_reference_reads_single_and_double_precision_on_the_cpu(device, dtype):
    op, facts = find_op("linear_scan"), Facts("numpy", device, (1, 7, 4), dtype)
    assert op.rejection(op._named("reference"), facts) == "reads float32 and float64 on the CPU"
