"""States `(B, T, D, N)` are never in memory, forward or backward."""

import keras
import numpy as np
import pytest

from keras_griffin.ops import selective_scan, use_implementation

B, T, D, N = 2, 512, 64, 16
GENERATOR = np.random.default_rng(0)
ARGUMENTS = [
    *(GENERATOR.uniform(0.1, 0.5, (B, T, D)).astype("float32") for _ in range(2)),
    -GENERATOR.uniform(0.5, 2.0, (D, N)).astype("float32"),
    *(GENERATOR.normal(size=(B, T, N)).astype("float32") for _ in range(2)),
]
SEQUENCE = 4 * B * T * D


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX")
@pytest.mark.parametrize(("implementation", "arrays"), [("jax_loop", 2.0), ("portable", 6.0)])
def test_on_jax(implementation, arrays):
    """In arrays like the inputs: the states are sixteen."""
    import jax

    def both(weights, *tensors):
        outputs, pull_back = jax.vjp(lambda *x: selective_scan(*x)[0], *tensors)
        return outputs, pull_back(weights)

    with use_implementation("selective_scan", implementation):
        memory = jax.jit(both).lower(ARGUMENTS[0], *ARGUMENTS).compile().memory_analysis()
    assert 0 < memory.temp_size_in_bytes <= arrays * SEQUENCE


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch")
def test_kept_on_pytorch():
    """The arguments with the initial state, and the states before chunks."""
    import torch

    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    tensors = [torch.tensor(array, requires_grad=True) for array in ARGUMENTS]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        selective_scan(*tensors)
    arguments = sum(array.nbytes for array in ARGUMENTS) + 4 * B * D * N
    assert 0 < sum(kept.values()) <= arguments + SEQUENCE * N // 32
