"""What is kept between forward and backward: the three arrays that come in, and the states."""

import keras
import numpy as np
import pytest

from keras_griffin.ops import rg_lru

B, T, D = 2, 64, 48
ARRAY = 4 * B * T * D
#: Beside the arrays over time: Lambda and h_0.
REST = 4 * (B + 1) * D


def arguments():
    generator = np.random.default_rng(0)
    return [
        *(generator.normal(size=(B, T, D)).astype("float32") for _ in range(3)),
        np.full(D, 3.0, "float32"),
        generator.normal(size=(B, D)).astype("float32"),
    ]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX")
def test_on_jax():
    import jax

    _, pull_back = jax.vjp(jax.jit(lambda *tensors: rg_lru(*tensors)[0]), *arguments())
    assert 0 < sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull_back)) <= 4 * ARRAY + REST


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch")
def test_on_pytorch():
    import torch

    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    tensors = [torch.tensor(array, requires_grad=True) for array in arguments()]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        rg_lru(*tensors)
    assert 0 < sum(kept.values()) <= 4 * ARRAY + REST
