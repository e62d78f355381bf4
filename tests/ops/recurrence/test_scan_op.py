"""A scan whose state is a matrix, S_t = S_{t-1} + k_t v_t^T, y_t = q_t S_t, from its axes alone."""

import re
import types

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.implementation import Implementation, Op, find_op
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close


def matrices(query, key, value, initial_state, marks):
    """Every step at once, without marks."""
    query, key, value = (ops.cast(x, initial_state.dtype) for x in (query, key, value))
    states = ops.cumsum(key[..., None] * value[..., None, :], axis=1) + initial_state[:, None]
    return ops.einsum("btnk,btnkv->btnv", query, states), states[:, -1]


class Matrices(ScanOp):
    def module(self, implementation):
        return types.SimpleNamespace(matrices=matrices, supports=lambda facts: None)


@pytest.fixture
def scan(monkeypatch):
    monkeypatch.setattr(Op, "registry", dict(Op.registry))
    axes = "query btnk, key btnk, value btnv | bnkv -> value"
    return Matrices("matrices", __name__, axes, [Implementation("portable")], one_step=matrices, node="Matrices")


def arguments(length=5, sizes=(3, 4), dtype="float32"):
    generator = np.random.default_rng(0)
    keys, values = (2, length, 2, sizes[0]), (2, length, 2, sizes[1])
    return [ops.convert_to_tensor(generator.normal(size=shape), dtype) for shape in (keys, keys, values)]


@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_state_and_dtypes_follow_from_the_axes(scan, length, dtype):
    query, key, value = arguments(length, dtype=dtype)
    outputs, state = scan(query, key, value)
    assert (tuple(outputs.shape), tuple(state.shape)) == ((2, length, 2, 4), (2, 2, 3, 4))
    assert [keras.backend.standardize_dtype(x.dtype) for x in (outputs, state)] == [dtype, "float32"]
    expected = np.einsum("btnk,btnv->bnkv", *(as_array(ops.cast(x, "float32")) for x in (key, value)))
    assert_close(state, expected)


def test_a_state_goes_on(scan):
    whole = scan(*arguments())
    _, state = scan(*(x[:, :2] for x in arguments()))
    outputs, state = scan(*(x[:, 2:] for x in arguments()), initial_state=state)
    assert_close(outputs, as_array(whole[0])[:, 2:])
    assert_close(state, as_array(whole[1]))


def test_a_node_of_a_model(scan):
    symbolic = [keras.Input((None, *x.shape[2:])) for x in arguments()]
    outputs, state = scan(*symbolic)
    assert (outputs.shape, state.shape) == ((None, None, 2, 4), (None, 2, 3, 4))
    model = keras.Model(symbolic, [outputs, state])
    for result, expected in zip(model(arguments()), scan(*arguments()), strict=True):
        assert_close(result, as_array(expected))


WRONG = [
    ({"key": (2, 5, 2, 3, 1)}, "key must have shape (2, 5, 2, 3) for value (2, 5, 2, 4)"),
    ({"query": (2, 5, 2, 0)}, "query must have shape (2, 5, 2, K), K at least 1, for value (2, 5, 2, 4)"),
    ({"query": (2, 5, 4)}, "query must have shape (2, 5, 2, K), K at least 1, for value (2, 5, 2, 4)"),
    ({"value": (2, 5, 4)}, "value must have shape (B, T, N, V)"),
    ({"initial_state": (2, 2, 4, 3)}, "initial_state must have shape (2, 2, 3, 4) for value (2, 5, 2, 4)"),
]


@pytest.mark.parametrize(("wrong", "rule"), WRONG)
def test_a_wrong_shape_gets_one_sentence(scan, wrong, rule):
    given = dict(zip(("query", "key", "value"), arguments(), strict=True))
    given |= {name: ops.ones(shape) for name, shape in wrong.items()}
    state = given.pop("initial_state", None)
    (shape,) = wrong.values()
    with pytest.raises(ValueError, match=f"^{re.escape(f'matrices: {rule}. Got {shape}.')}$"):
        scan(*given.values(), initial_state=state)


def test_what_is_missing_is_named(scan):
    query, _, value = arguments()
    for given, name in ((query, None, value), "key"), ((query, value, None), "value"):
        with pytest.raises(ValueError, match=f"^matrices: {name} must be given. Got None.$"):
            scan(*given)


def test_nodes_keep_the_names_under_which_files_have_them():
    names = {
        "linear_scan": "LinearScan",
        "log_scan": "LogScan",
        "rg_lru": "GatedScan",
        "selective_scan": "SelectiveScan",
        "state_space": "StateSpace",
        "delta_rule": "DeltaRule",
    }
    for op_name, name in names.items():
        assert keras.saving.get_registered_name(find_op(op_name).node) == f"keras_griffin>{name}"
