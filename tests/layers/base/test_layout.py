import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.layers.base.layout import with_layout
from keras_griffin.ops.shared.time_axis import time_along


def test_without_a_distribution_a_tensor_stays_what_it_is():
    x = ops.ones((4, 2))
    assert with_layout(x, "block_0/residual") is x


@pytest.fixture
def path():
    """A path whose tensors have a layout, on a mesh of the one device there is."""
    if keras.backend.backend() != "jax":
        pytest.skip("Keras's distribution is JAX's alone")
    mesh = keras.distribution.DeviceMesh((1, 1), ["batch", "model"], keras.distribution.list_devices()[:1])
    layouts = keras.distribution.LayoutMap(mesh)
    layouts["block_0/residual"] = ("batch", None)
    with keras.distribution.ModelParallel(layout_map=layouts).scope():
        yield "block_0/residual"


def constraints(path, shape=(4, 2)):
    import jax

    return str(jax.make_jaxpr(lambda x: with_layout(x, path) * 2)(np.ones(shape, "float32"))).count(
        "sharding_constraint"
    )


def test_a_tensor_of_a_compiled_function_gets_the_layout_of_its_path(path):
    assert constraints(path) == 1
    assert constraints("block_0/other") == 0


def test_where_time_is_divided_nothing_is_laid_out(path):
    with time_along("time"):
        assert constraints(path) == 0
