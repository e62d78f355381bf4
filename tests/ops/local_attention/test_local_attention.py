"""The contract of local attention; `tests/ops/test_rows.py` has the values and the gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.local_attention import LocalAttention, local_attention, reference
from keras_griffin.testing.closeness import assert_close

BATCH, LENGTH, WINDOW = 3, 65, 7


def _arguments():
    generator = np.random.default_rng(0)
    shapes = ((BATCH, LENGTH, 4, 4), (BATCH, LENGTH, 2, 4), (BATCH, LENGTH, 2, 4))
    return [generator.normal(size=shape).astype("float32") for shape in shapes]


def _marks():
    generator = np.random.default_rng(1)
    mask = generator.random((BATCH, LENGTH)) < 0.7
    mask[2] = False
    return {"segment_ids": generator.integers(0, 2, size=(BATCH, LENGTH)).astype("int32"), "mask": mask}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_outputs_have_the_shape_and_dtype_of_the_query(dtype):
    query, key, value = _arguments()
    outputs = local_attention(ops.cast(query, dtype), key, value, WINDOW)
    assert tuple(outputs.shape) == query.shape
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype


def test_no_queries():
    query, key, value = _arguments()
    for keys in (0, LENGTH):
        assert tuple(local_attention(query[:, :0], key[:, :keys], value[:, :keys], WINDOW).shape) == (BATCH, 0, 4, 4)


def test_a_window_of_one_is_the_own_value():
    query, key, value = _arguments()
    assert_close(local_attention(query, key, value, 1), np.repeat(value, 2, axis=2))


@pytest.mark.parametrize("marked", [False, True])
def test_pieces_with_history_make_up_the_whole(marked):
    query, key, value = _arguments()
    marks = _marks() if marked else {}
    expected = reference.local_attention(query, key, value, WINDOW, **marks)
    for start, stop in ((0, 7), (7, LENGTH)):
        seen = {name: mark[:, :stop] for name, mark in marks.items()}
        piece = local_attention(query[:, start:stop], key[:, :stop], value[:, :stop], WINDOW, **seen)
        assert_close(piece, expected[:, start:stop])


@pytest.mark.parametrize("marked", [False, True])
def test_in_a_functional_model_of_any_length(marked):
    arguments, marks = _arguments(), _marks()
    symbols = [keras.Input((None, *x.shape[2:])) for x in arguments]
    symbolic_marks = {"segment_ids": keras.Input((None,), dtype="int32"), "mask": keras.Input((None,), dtype="bool")}
    if not marked:
        marks, symbolic_marks = {}, {}
    outputs = local_attention(*symbols, WINDOW, **symbolic_marks)
    assert outputs.shape == (None, None, 4, 4)
    model = keras.Model([*symbols, *symbolic_marks.values()], outputs)
    expected = reference.local_attention(*arguments, WINDOW, **marks)
    assert_close(model([*arguments, *marks.values()]), expected)
    config = keras.saving.serialize_keras_object(LocalAttention(WINDOW))
    assert keras.saving.deserialize_keras_object(config).window == WINDOW


@pytest.mark.skipif(keras.backend.backend() == "numpy", reason="Keras tries the layer on uninitialised memory there")
def test_in_a_layer_that_is_traced_with_lengths_unknown():
    """On JAX such a length is neither None nor an integer."""
    layer = keras.layers.Lambda(lambda x: local_attention(x, x, x, WINDOW))
    symbolic = keras.Input((None, 2, 4))
    model = keras.Model(symbolic, layer(symbolic))
    assert model.output.shape == (None, None, 2, 4)
    for length in (1, LENGTH):
        x = np.random.default_rng(0).normal(size=(BATCH, length, 2, 4)).astype("float32")
        assert_close(model(x), reference.local_attention(x, x, x, WINDOW))


QUERY, KEY = (3, 7, 4, 4), (3, 7, 2, 4)


@pytest.mark.parametrize(
    ("query", "key", "value", "rule"),
    [
        ((3, 7, 4), KEY, KEY, "query must have shape (B, T, N, H) and key (B, S, K, H)."),
        (QUERY, (3, 7, 4), KEY, "query must have shape (B, T, N, H) and key (B, S, K, H)."),
        (QUERY, (2, 7, 2, 4), KEY, "query, key and value must agree on B and H, and key and value on S and K."),
        (QUERY, (3, 7, 2, 5), KEY, "query, key and value must agree on B and H, and key and value on S and K."),
        (QUERY, KEY, (3, 7, 1, 4), "query, key and value must agree on B and H, and key and value on S and K."),
        (QUERY, (3, 6, 2, 4), (3, 6, 2, 4), "there must be a key for each query, S at least T."),
        (QUERY, (3, 7, 3, 4), (3, 7, 3, 4), "the key heads K must divide the query heads N."),
        (QUERY, (3, 7, 0, 4), (3, 7, 0, 4), "the key heads K must divide the query heads N."),
    ],
)
def test_shapes_that_do_not_fit(query, key, value, rule):
    with pytest.raises(ValueError) as error:
        local_attention(*(np.zeros(shape, "float32") for shape in (query, key, value)), WINDOW)
    assert str(error.value) == f"local_attention: {rule} Got query {query}, key {key} and value {value}."


@pytest.mark.parametrize("window", [0, -1, 2.0, None, True])
def test_a_window_that_does_not_fit(window):
    with pytest.raises(ValueError) as error:
        local_attention(np.zeros(QUERY), np.zeros(KEY), np.zeros(KEY), window)
    assert str(error.value) == f"local_attention: window must be an integer of at least 1. Got {window!r}."


@pytest.mark.parametrize(
    ("mark", "shape", "dtype", "rule"),
    [
        ("mask", (3, 6), "bool", "mask must be boolean, one value for each step, shape (3, 7)."),
        ("mask", (3, 7), "int32", "mask must be boolean, one value for each step, shape (3, 7)."),
        ("segment_ids", (3, 6), "int32", "segment_ids must be integers, one for each key, shape (3, 7)."),
        ("segment_ids", (3, 7), "float32", "segment_ids must be integers, one for each key, shape (3, 7)."),
    ],
)
def test_marks_that_do_not_fit(mark, shape, dtype, rule):
    with pytest.raises(ValueError) as error:
        local_attention(np.zeros(QUERY), np.zeros(KEY), np.zeros(KEY), WINDOW, **{mark: ops.zeros(shape, dtype)})
    assert str(error.value) == f"local_attention: {rule} Got dtype {dtype} and shape {shape}."
