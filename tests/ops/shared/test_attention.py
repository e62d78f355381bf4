"""Attention in parts: of keys, joined by the logarithms of their sums, and of queries, one block at a time."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.shared.attention import BLOCK, Seen, attention_in_turn, softmax_attention
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

B, T, N, H = 2, 3 * BLOCK + 5, 2, 4
GENERATOR = np.random.default_rng(0)
QUERY, KEY, VALUE = (GENERATOR.normal(size=(B, T, heads, H)).astype("float32") for heads in (N, 1, 1))


def causal(query, key, value, with_log_sum=False):
    steps, whole = ops.arange(T, dtype="int32")[None], ops.ones((B, T), "bool")
    return attention_in_turn(query, key, value, whole, Seen(steps, steps, None, None), lambda t: t, with_log_sum)


def test_the_logarithm_of_the_sum_and_what_is_lost():
    short = slice(0, 6)
    query, key, value = (ops.convert_to_tensor(x[:, None, short]) for x in (QUERY, KEY, VALUE))
    whole, visible = np.ones((B, 1, 6), bool), np.tril(np.ones((1, 1, 6, 6), bool))
    whole[1, 0, 4] = False
    attended = softmax_attention(query, key, value, ops.convert_to_tensor(whole), ops.convert_to_tensor(visible), True)
    logits = np.einsum("btnh,bskh->btsn", QUERY[:, short], KEY[:, short]).astype("float64")
    weights = np.exp(logits) * visible[0, 0, :, :, None]
    assert_close(attended.log_sum[:, 0], np.log(weights.sum(axis=2)))
    expected = np.einsum("btsn,bskh->btnh", weights / weights.sum(axis=2, keepdims=True), VALUE[:, short])
    assert_close(attended.outputs[:, 0], expected)
    np.testing.assert_array_equal(as_array(attended.whole)[:, 0], [[True] * 6, [True] * 4 + [False] * 2])


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX reports a compiled program's memory")
def test_the_weights_of_a_block_are_in_memory_at_a_time():
    """Forward and backward; all of them are three times as many."""
    import jax

    def both(cotangent, *tensors):
        outputs, pull_back = jax.vjp(lambda *x: causal(*x).outputs, *tensors)
        return outputs, pull_back(cotangent)

    memory = jax.jit(both).lower(QUERY, QUERY, KEY, VALUE).compile().memory_analysis()
    of_a_block = 4 * B * N * BLOCK * T
    assert 0 < memory.temp_size_in_bytes < 3 * of_a_block


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch")
def test_no_weights_are_kept_on_pytorch():
    import torch

    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    tensors = [torch.tensor(x, requires_grad=True) for x in (QUERY, KEY, VALUE)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        causal(*tensors)
    assert 0 < sum(kept.values()) < 10 * QUERY.nbytes
