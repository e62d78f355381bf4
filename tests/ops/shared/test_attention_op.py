"""What every attention takes, returns and refuses; `tests/ops/test_rows.py` has the values and the gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import global_attention, local_attention, sparse_attention
from keras_griffin.ops.global_attention import reference as global_reference
from keras_griffin.ops.implementation import Op, find_op
from keras_griffin.ops.local_attention import reference as local_reference
from keras_griffin.ops.shared.attention_op import AttentionOp
from keras_griffin.ops.shared.time_axis import time_along
from keras_griffin.ops.sparse_attention import reference as sparse_reference
from keras_griffin.testing.closeness import assert_close

BATCH, LENGTH = 3, 65
FUNCTIONS = {
    "local_attention": local_attention,
    "global_attention": global_attention,
    "sparse_attention": sparse_attention,
}
DEFINITIONS = {
    "local_attention": local_reference.local_attention,
    "global_attention": global_reference.global_attention,
    "sparse_attention": sparse_reference.sparse_attention,
}
OPTIONS = {
    "local_attention": {"window": 7},
    "global_attention": {},
    "sparse_attention": {"stride": 6, "pattern": "fixed", "summary_steps": 2},
}
every_op = pytest.mark.parametrize("name", FUNCTIONS)


def call(name, *tensors, **marks):
    return FUNCTIONS[name](*tensors, **OPTIONS[name], **marks)


def arguments():
    generator = np.random.default_rng(0)
    shapes = ((BATCH, LENGTH, 4, 4), (BATCH, LENGTH, 2, 4), (BATCH, LENGTH, 2, 4))
    return [generator.normal(size=shape).astype("float32") for shape in shapes]


def marks_of_steps():
    generator = np.random.default_rng(1)
    mask = generator.random((BATCH, LENGTH)) < 0.7
    mask[2] = False
    ids = np.cumsum(generator.random((BATCH, LENGTH)) < 0.1, axis=1)
    return {"segment_ids": ids.astype("int32"), "mask": mask}


@pytest.mark.any_backend
def test_these_are_all():
    assert set(FUNCTIONS) == {op.name for op in Op.registry.values() if isinstance(op, AttentionOp)}


@every_op
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_outputs_have_the_shape_and_dtype_of_the_query(name, dtype):
    query, key, value = arguments()
    outputs = call(name, ops.cast(query, dtype), key, value)
    assert tuple(outputs.shape) == query.shape
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype


@every_op
def test_no_queries(name):
    query, key, value = arguments()
    for keys in (0, LENGTH):
        assert tuple(call(name, query[:, :0], key[:, :keys], value[:, :keys]).shape) == (BATCH, 0, 4, 4)


@every_op
@pytest.mark.parametrize("marked", [False, True])
def test_in_a_functional_model_of_any_length(name, marked):
    tensors, marks = arguments(), marks_of_steps()
    symbols = [keras.Input((None, *x.shape[2:])) for x in tensors]
    symbolic_marks = {"segment_ids": keras.Input((None,), dtype="int32"), "mask": keras.Input((None,), dtype="bool")}
    if not marked:
        marks, symbolic_marks = {}, {}
    outputs = call(name, *symbols, **symbolic_marks)
    assert outputs.shape == (None, None, 4, 4)
    model = keras.Model([*symbols, *symbolic_marks.values()], outputs)
    expected = DEFINITIONS[name](*tensors, **OPTIONS[name], **marks)
    assert_close(model([*tensors, *marks.values()]), expected)


@every_op
def test_a_node_is_saved_with_its_options(name):
    node = find_op(name).node(**OPTIONS[name])
    config = keras.saving.serialize_keras_object(node)
    class_name = "".join(word.capitalize() for word in name.split("_"))
    assert config["registered_name"] == f"keras_griffin>{class_name}"
    assert OPTIONS[name].items() <= config["config"].items()
    assert keras.saving.deserialize_keras_object(config).options == OPTIONS[name]


@every_op
@pytest.mark.skipif(keras.backend.backend() == "numpy", reason="Keras tries the layer on uninitialised memory there")
def test_in_a_layer_that_is_traced_with_lengths_unknown(name):
    """On JAX such a length is neither None nor an integer."""
    layer = keras.layers.Lambda(lambda x: call(name, x, x, x))
    symbolic = keras.Input((None, 2, 4))
    model = keras.Model(symbolic, layer(symbolic))
    assert model.output.shape == (None, None, 2, 4)
    for length in (1, LENGTH):
        x = np.random.default_rng(0).normal(size=(BATCH, length, 2, 4)).astype("float32")
        assert_close(model(x), DEFINITIONS[name](x, x, x, **OPTIONS[name]))


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"local_attention"}))
def test_divided_time_is_refused(name):
    with time_along("time"), pytest.raises(ValueError, match=f"{name}: an op must have a rule for time divided over"):
        call(name, *arguments())


QUERY, KEY = (3, 7, 4, 4), (3, 7, 2, 4)


@every_op
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
def test_shapes_that_do_not_fit(name, query, key, value, rule):
    with pytest.raises(ValueError) as error:
        call(name, *(np.zeros(shape, "float32") for shape in (query, key, value)))
    assert str(error.value) == f"{name}: {rule} Got query {query}, key {key} and value {value}."


@every_op
@pytest.mark.parametrize(
    ("mark", "shape", "dtype", "rule"),
    [
        ("mask", (3, 6), "bool", "mask must be boolean, one value for each step, shape (3, 7)."),
        ("mask", (3, 7), "int32", "mask must be boolean, one value for each step, shape (3, 7)."),
        ("segment_ids", (3, 6), "int32", "segment_ids must be integers, one for each key, shape (3, 7)."),
        ("segment_ids", (3, 7), "float32", "segment_ids must be integers, one for each key, shape (3, 7)."),
    ],
)
def test_marks_that_do_not_fit(name, mark, shape, dtype, rule):
    with pytest.raises(ValueError) as error:
        call(name, np.zeros(QUERY), np.zeros(KEY), np.zeros(KEY), **{mark: ops.zeros(shape, dtype)})
    assert str(error.value) == f"{name}: {rule} Got dtype {dtype} and shape {shape}."
