"""What the compiler of TPUs makes of a divided model, for chips that need not be there."""

import importlib.util
import re

import keras
import numpy as np
import pytest

from keras_griffin.distribution import layout_map
from tests.distribution.chips import chips, mesh_of_chips
from tests.distribution.tiny import CONFIG, model

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's distribution is JAX's alone"),
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu-check"),
]
ROWS, STEPS = 8, 40


@pytest.fixture(scope="module")
def sent():
    """The results and origins of all that a gradient sends over the eight chips of a v5e, which split the model."""
    with chips("v5e:2x4") as devices:
        yield sent_over(mesh_of_chips(devices, (1, 8)))


def sent_over(mesh):
    import jax

    trained, layouts = model(), layout_map(CONFIG, mesh)
    parameters = [
        jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=layouts[v.path].backend_layout) for v in trained.weights
    ]
    rows = keras.distribution.TensorLayout(("batch", None), mesh).backend_layout
    tokens = jax.ShapeDtypeStruct((ROWS, STEPS), "int32", sharding=rows)

    def loss(parameters, tokens):
        logits, _ = trained.stateless_call(parameters, [], tokens)
        return trained.loss(tokens, logits)

    with keras.distribution.ModelParallel(layout_map=layouts).scope():
        program = jax.jit(jax.grad(loss)).lower(parameters, tokens).compile().as_text()
    found = re.findall(r"= (.+?) (all-\w+|reduce-scatter|collective-\w+)\(.*op_name=\"([^\"]*)\"", program)
    assert {kind for _, kind, _ in found} == {"all-reduce"}
    return [(result, origin) for result, _, origin in found]


def sizes(result):
    """How many numbers each tensor in a result has."""
    shapes = re.findall(r"f(?:32|16)\[([\d,]+)\]", result)
    return [int(np.prod([int(size) for size in shape.split(",")])) for shape in shapes]


@pytest.mark.parametrize("part", ["mixer", "mlp"])
@pytest.mark.parametrize("block", ["block_0", "block_1"])
@pytest.mark.parametrize("direction", ["jit(loss)/jvp({})", "transpose(jvp({}))"])
def test_each_mixer_and_each_mlp_sends_one_sum_of_vectors(sent, direction, block, part):
    """Forward and backward, as section 4.1 of the paper says."""
    of_part = [sizes(result) for result, origin in sent if f"{direction.format(block)}/{part}/" in origin]
    vectors, tokens = ROWS * STEPS * CONFIG.width, ROWS * STEPS
    if (block, part) != ("block_1", "mixer"):
        assert of_part == [[vectors]]
    else:
        # Attention also agrees on which steps are finite, in both directions.
        assert [tokens] in of_part
        of_part.remove([tokens])
        ((first, *rest),) = of_part
        # All heads share a key and a value: backward their gradients go along.
        assert first == vectors and len(rest) == (0 if direction.startswith("jit") else 2)
