"""A rule for what comes back: outputs as they are, and gradients that it makes of cotangent, shapes and marks."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.shared.change_gradient import change_gradient
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

OUTPUTS, TENSOR, MARK, BACK = (np.random.default_rng(0).normal(size=(2, 3)).astype("float32") for _ in range(4))


def rule(cotangent, shapes, mark, absent):
    """Not linear in what comes back."""
    ((rows, width),) = shapes
    assert absent is None
    return ops.abs(cotangent), ops.broadcast_to((mark * cotangent)[:1], (rows, width))


def loss(outputs, tensor, mark, back):
    changed = change_gradient(rule, 2.0 * outputs, [tensor], [mark, None])
    return ops.sum(changed * back) + ops.sum(tensor)


def test_outputs_are_as_they_are():
    outputs, tensor, mark = map(ops.convert_to_tensor, (OUTPUTS, TENSOR, MARK))
    np.testing.assert_array_equal(as_array(change_gradient(rule, outputs, [tensor], [mark, None])), OUTPUTS)


@pytest.mark.trainable
def test_what_comes_back_is_what_the_rule_gives():
    constants = [ops.convert_to_tensor(x) for x in (MARK, BACK)]
    _, (into_outputs, into_tensor) = value_and_gradient(lambda *x: loss(*x, *constants), OUTPUTS, TENSOR)
    assert_close(into_outputs, 2.0 * np.abs(BACK))
    assert_close(into_tensor, 1.0 + np.broadcast_to((MARK * BACK)[:1], (2, 3)))


# PyTorch's own, where it compiles any function with a gradient of its own.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's own transformations")
def test_on_pytorch_it_is_followed():
    import torch

    constants = [torch.tensor(x) for x in (MARK, BACK)]
    arguments = [torch.tensor(x, requires_grad=True) for x in (OUTPUTS, TENSOR)]
    expected = torch.autograd.grad(loss(*arguments, *constants), arguments)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(*arguments, *constants)
    batched = torch.func.vmap(torch.func.grad(loss, (0, 1)))(*(x.detach()[None] for x in (*arguments, *constants)))
    for gradients in (torch.autograd.grad(compiled, arguments), [x[0] for x in batched]):
        for actual, wanted in zip(gradients, expected, strict=True):
            assert_close(actual, wanted)
    with torch.no_grad():
        assert change_gradient(rule, arguments[0], arguments[1:], constants) is arguments[0]
