"""The gates in place against those in Keras's operations, which `test_gates.py` judges."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("an implementation of PyTorch's", allow_module_level=True)

import torch

from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru.gates import gates, gates_gradient
from keras_griffin.ops.rg_lru.inputs import GatedScanInputs
from keras_griffin.ops.rg_lru.torch_gates import decay_of, gates_gradient_in_place, gates_in_place
from keras_griffin.testing.closeness import assert_close

SHAPE, EXPONENT = (2, 7, 5), 6.0


def arguments(marked, dtype):
    """A unit, marks, and gradients for decay and gated inputs; masked steps hold NaN."""
    generator = torch.Generator().manual_seed(0)
    x, *logits = (torch.randn(SHAPE, generator=generator).to(dtype) for _ in range(3))
    marks = Marks(*(torch.rand(*SHAPE[:2], 1, generator=generator) < share for share in (0.3, 0.7)))
    if marked:
        for array in (x, *logits):
            array.masked_fill_(~marks.mask, torch.nan)
    unit = GatedScanInputs((x,), *logits, torch.randn(5, generator=generator) + 3.0, None)
    gradients = [torch.randn(SHAPE, generator=generator) for _ in range(2)]
    return unit, marks if marked else Marks(None, None), gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("marked", [False, True])
def test_gates(marked, dtype):
    unit, marks, _ = arguments(marked, dtype)
    kept = [x.clone() for x in (*unit.inputs, *unit[1:4])]
    (decay,), (gated,) = gates(unit, marks, EXPONENT, "float32")
    actual = gates_in_place(unit, marks, EXPONENT, torch.float32)
    assert_close(actual[0], decay.numpy())
    assert_close(actual[1], gated.numpy())
    assert_close(decay_of(unit, marks, EXPONENT, torch.float32).decay, decay.numpy())
    for before, after in zip(kept, (*unit.inputs, *unit[1:4]), strict=True):
        assert torch.equal(before.nan_to_num(), after.nan_to_num())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("marked", [False, True])
def test_gradient(marked, dtype):
    unit, marks, (into_decay, into_gated) = arguments(marked, dtype)
    kept = [x.clone() for x in (*unit.inputs, *unit[1:4])]
    expected = gates_gradient(unit, marks, EXPONENT, "float32", (into_decay,), (into_gated,), by_row=True)
    sequences = [torch.full(SHAPE, torch.nan, dtype=dtype) for _ in range(3)]
    made = decay_of(unit, marks, EXPONENT, torch.float32)
    of_rows = gates_gradient_in_place(unit, made, marks, EXPONENT, (into_decay, into_gated), sequences)
    for actual, wanted in zip(sequences, (*expected.inputs, *expected[1:3]), strict=True):
        assert_close(actual, wanted.numpy())
    assert_close(of_rows, expected.decay_parameter.numpy())
    for before, after in zip(kept, (*unit.inputs, *unit[1:4]), strict=True):
        assert torch.equal(before.nan_to_num(), after.nan_to_num())
