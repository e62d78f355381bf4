"""Each backend's file gives the whole contract. Gradients are tested in `testing`, and what has values in `ops`."""

import importlib
import inspect
import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin import backends
from keras_griffin.backends import active, imported, numpy_backend
from keras_griffin.testing.arrays import as_array

BACKEND = keras.backend.backend()
#: The names in the table of the package's docstring, and their arguments.
CONTRACT = dict(re.findall(r"^    (\w+)\(([\w, ]*)\)", backends.__doc__, re.MULTILINE))


def test_the_active_backend_gives_every_name_and_no_other_arguments():
    module = active()
    assert module is importlib.import_module(f"keras_griffin.backends.{BACKEND}_backend") is imported(module.__name__)
    assert len(CONTRACT) == 20
    for name, arguments in CONTRACT.items():
        found = ", ".join(inspect.signature(getattr(module, name)).parameters)
        assert found in (arguments, "_"), name


def test_a_backend_has_threads_of_its_own_unless_it_is_told_to_use_one():
    """What a forked process does then is in `tests/generation/test_threads.py`."""
    if BACKEND != "torch":
        assert active().has_threads() == (BACKEND != "numpy")
        return
    import torch

    before = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            assert active().has_threads() == (number > 1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5, 3)])
def test_an_owned_copy_has_the_values_and_shares_no_memory(shape, dtype):
    array = np.full(shape, 1.0 + 2**-20)
    copy = active().owned_copy(array, np.dtype(dtype))
    expected = array.astype(dtype)
    array[...] = 0.0
    assert copy.dtype == dtype and copy.shape == shape
    np.testing.assert_array_equal(np.asarray(copy), expected)


@pytest.mark.parametrize("rows", [1, 2, 17, 64])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (65, 130)])
def test_products_of_int8_are_exact_however_the_matrix_is_stored(rows, shape):
    generator = np.random.default_rng(0)
    row, matrix = (generator.integers(-128, 128, size, "int8") for size in [(rows, shape[0]), shape])
    # Two of these overflow 16 bits.
    row[0], matrix[:, 0] = -128, -128
    expected = row.astype("int64") @ matrix.astype("int64")
    variable = keras.Variable(matrix, dtype="int8", trainable=False)
    for _ in range(2):
        products = active().int8_product(ops.convert_to_tensor(row), variable.value)
        assert keras.backend.standardize_dtype(products.dtype) == "int32"
        np.testing.assert_array_equal(as_array(products), expected)
        active().store_by_column(variable)
    np.testing.assert_array_equal(as_array(variable), matrix)
    variable.assign(-(matrix // 2))
    if BACKEND == "torch":
        assert variable.value.stride() == (1, shape[0])
    np.testing.assert_array_equal(as_array(variable), -(matrix // 2))


def test_places_differ_for_other_variables():
    one, other = (keras.Variable(np.ones(3), dtype="float32") for _ in range(2))
    before = active().places([one])
    assert active().places([one]) == before and len({before, active().places([other]), active().places([])}) == 3
    one.assign(2 * np.ones(3))
    assert active().places([one]) == before
    if BACKEND == "torch":
        one.value.data = one.value.data.clone()
        assert active().places([one]) != before


def test_what_is_computed_without_gradients_is_the_same():
    x = ops.ones((2,))
    with active().without_gradients():
        assert as_array(x + x).tolist() == [2.0, 2.0]
    assert as_array(active().compiled(lambda x: x + x)(x)).tolist() == [2.0, 2.0]


def test_a_model_that_is_not_in_training_holds_its_variables():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    before = model.get_weights()
    active().before_first_step(model)
    model.compile("sgd", "mse")
    active().before_first_step(model)
    assert model.optimizer.built == (BACKEND == "tensorflow")
    if BACKEND != "jax":
        active().sync_variables(model)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    active().before_config_is_written()
    assert active().has_strategy() is False and active().has_values([ops.ones(())])


def test_numpy_has_no_gradients():
    sentence = f"value_and_gradient: the backend must be jax, torch or tensorflow. Got {BACKEND}."
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        numpy_backend.value_and_gradient(None, [])


def as_if_on(kind, monkeypatch):
    """Make the active backend believe that it computes on another device."""
    if BACKEND == "jax":
        import jax

        monkeypatch.setattr(jax, "default_backend", lambda: {"gpu": "cuda"}.get(kind, kind))
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        monkeypatch.setattr(tf.config, "list_logical_devices", lambda asked: ["one"] if asked.lower() == kind else [])
    elif BACKEND == "torch":
        import torch

        tensor = torch.zeros((), device="meta" if kind == "gpu" else kind)
        monkeypatch.setattr(active(), "_HAS_ACCELERATOR", kind == "gpu")
        monkeypatch.setattr(keras.ops, "zeros", lambda shape: tensor)


def test_the_device_of_this_machine():
    kind = "cpu" if BACKEND == "numpy" else str(keras.ops.zeros(()).device).lower()
    assert active().device_kind() == ("cpu" if "cpu" in kind else "tpu" if "tpu" in kind else "gpu")


@pytest.mark.parametrize("kind", {"numpy": ["cpu"], "torch": ["cpu", "gpu"]}.get(BACKEND, ["cpu", "gpu", "tpu"]))
def test_other_devices(kind, monkeypatch):
    as_if_on(kind, monkeypatch)
    assert active().device_kind() == kind


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's default device may be set apart from its default backend")
def test_a_scope_of_another_device_than_that_of_the_backend(monkeypatch):
    """As `keras.device("cpu")` on a machine with a GPU, whose kernels a CPU cannot compile."""
    import jax

    as_if_on("gpu", monkeypatch)
    with keras.device("cpu:0"):
        assert active().device_kind() == "cpu"
    assert active().device_kind() == "gpu"
    with jax.default_device("tpu"):
        assert active().device_kind() == "tpu"


def test_one_process_communicates_with_itself():
    """What several do is in `tests/distribution/test_resuming.py`."""
    array = np.arange(3)
    assert numpy_backend.process() == active().process() == (0, 1)
    assert (numpy_backend.gathered(array) == [[0, 1, 2]]).all() and numpy_backend.sent(array, 0) is array
