import keras
import pytest

from tests.distribution.eight_devices import assert_they_pass

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's distribution is JAX's alone")


@pytest.mark.slow
def test_on_eight_devices():
    assert_they_pass("kernels")


@pytest.mark.parametrize(
    ("shape", "rows", "channels", "divided", "whole"),
    [
        ({"batch": 2, "model": 4}, 6, 12, "batch model", ""),
        ({"batch": 2, "model": 4}, 3, 12, "model", "batch"),
        ({"batch": 2, "model": 4}, 2, 6, "batch", "model"),
        ({"model": 4, "data": 2, "more": 3}, 2, 24, "data model more", ""),
        ({"model": 4, "data": 2, "more": 3}, 2, 8, "data model", "more"),
    ],
)
def test_an_axis_divides_what_it_can(shape, rows, channels, divided, whole):
    import types

    from keras_griffin.ops.jax_division import Division

    division = Division(types.SimpleNamespace(shape=shape), "data" if "data" in shape else "batch")
    axes = division.axes(rows, channels)
    assert sorted(axes["b"] + axes["c"]) == divided.split()
    assert not set(whole.split()) & set(axes["b"] + axes["c"])
    assert axes["b"] in ((), (division.batch_axis,))
