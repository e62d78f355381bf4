"""Pools against NumPy in float64: whole rows, streams, and what may not be read."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.models.pooling import POOLS, Pool
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

B, T, D = 6, 7, 4
generator = np.random.default_rng(0)
X = generator.normal(size=(B, T, D)).astype("float32")
MASK, RESET = np.ones((B, T), bool), np.zeros((B, T), bool)
# Ends; begins late; has a hole; is empty; starts again, at a masked step too; is empty, with a reset.
MASK[0, 4:], MASK[1, :3], MASK[2, 3], MASK[3], MASK[4, 5], MASK[5] = False, False, False, False, False, False
RESET[2, 5], RESET[4, [2, 5]], RESET[5, 3] = True, True, True
MARKS = {
    "none": {},
    "mask": {"mask": MASK},
    "reset": {"reset": RESET},
    "both": {"mask": MASK, "reset": RESET},
}


def layer_of(kind, dtype=None):
    layer = Pool(kind, dtype=dtype)
    layer.build((None, None, D))
    return layer


def steps_of(mask=None, reset=None):
    """The steps of each row that count."""
    mask = np.ones((B, T), bool) if mask is None else mask
    reset = np.zeros((B, T), bool) if reset is None else reset & mask
    firsts = [max(np.flatnonzero(row), default=0) for row in reset]
    return [np.flatnonzero(row & (np.arange(T) >= first)) for row, first in zip(mask, firsts, strict=True)]


def pool_of(kind, x):
    """Of `x (T, D)` in float64."""
    if not len(x):
        return np.zeros(2 * D if kind == "mean_max" else D)
    if kind == "mean_max":
        return np.concatenate([x.mean(axis=0), x.max(axis=0)])
    pools = {"last": lambda: x[-1], "mean": lambda: x.mean(axis=0), "max": lambda: x.max(axis=0)}
    return pools[kind]()


def gradient_of(kind, x, g):
    """Of the pool times `g`, with regard to `x (T, D)`."""
    if not len(x):
        return x
    if kind == "mean_max":
        return gradient_of("mean", x, g[:D]) + gradient_of("max", x, g[D:])
    parts = {
        "last": lambda: np.arange(len(x))[:, None] == len(x) - 1,
        "mean": lambda: np.full((len(x), 1), 1 / len(x)),
        "max": lambda: x == x.max(axis=0),
    }
    return parts[kind]() * g


def poisoned(steps):
    """NaN where nothing may be read."""
    x = np.full_like(X, np.nan)
    for row, places in enumerate(steps):
        x[row, places] = X[row, places]
    return x


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("kind", POOLS)
def test_values_and_streams_with_nan_where_nothing_may_be_read(kind, marks):
    steps, marks = steps_of(**MARKS[marks]), MARKS[marks]
    layer, x = layer_of(kind), poisoned(steps)
    expected = np.stack([pool_of(kind, X[row, places].astype("float64")) for row, places in enumerate(steps)])
    assert_close(layer(x, **marks), expected)
    for cuts in ((0, 3, T), (0, 0, 5, T), range(T + 1)):
        state = layer.initial_state(B)
        for start, end in itertools.pairwise(cuts):
            pieces = {name: mark[:, start:end] for name, mark in marks.items()}
            outputs, state = layer.advance(x[:, start:end], state, **pieces)
        assert_close(outputs, expected)


@pytest.mark.trainable
@pytest.mark.parametrize("kind", POOLS)
def test_gradients(kind):
    steps, layer = steps_of(**MARKS["both"]), layer_of(kind)
    expected = [pool_of(kind, X[row, places].astype("float64")) for row, places in enumerate(steps)]
    g = generator.normal(size=np.shape(expected))
    gradient = np.zeros((B, T, D))
    for row, places in enumerate(steps):
        gradient[row, places] = gradient_of(kind, X[row, places].astype("float64"), g[row])

    def loss(x):
        return ops.sum(layer(x, **MARKS["both"]) * ops.cast(g, "float32"))

    _, (found,) = value_and_gradient(loss, ops.convert_to_tensor(poisoned(steps)))
    assert_close(found, gradient)


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (0, 0)])
def test_of_nothing(kind, shape):
    layer, x, mark = layer_of(kind), np.zeros((*shape, D), "float32"), np.ones(shape, bool)
    for marks in ({}, {"mask": mark}, {"mask": mark, "reset": mark}):
        found = as_array(layer(x, **marks))
        np.testing.assert_array_equal(found, np.zeros(layer.compute_output_shape(x.shape)))


@pytest.mark.parametrize("kind", POOLS)
def test_sums_are_of_float32_in_half_precision(kind):
    layer = layer_of(kind, "mixed_bfloat16")
    long = np.ones((1, 1000, D), "float32")
    found = layer(long)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    np.testing.assert_array_equal(as_array(ops.cast(found, "float32")), 1)
    _, state = layer.advance(long, layer.initial_state(1))
    dtypes = {keras.backend.standardize_dtype(leaf.dtype) for leaf in keras.tree.flatten(state)}
    assert "float32" in dtypes and not dtypes - {"float32", "int32"}
