import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX alone divides time", allow_module_level=True)

import jax
from jax import lax
from jax import numpy as jnp
from jax.sharding import PartitionSpec

from keras_griffin.distribution.jax_exchange import (
    gathered,
    is_first,
    num_devices,
    on_the_same_devices,
    state_of_device,
    steps_before,
)
from keras_griffin.testing.closeness import assert_close
from tests.distribution.devices import divided

STEPS, ROWS = PartitionSpec(None, "time"), PartitionSpec("time")


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 40])
def test_the_steps_before_come_from_as_many_devices_as_have_them(devices, count):
    x = np.arange(1, 33).reshape(2, 16, 1)
    length = 16 // devices
    got = divided(lambda x: steps_before(x, count, "time"), devices, STEPS, STEPS)(x)
    padded = np.pad(x, [(0, 0), (count, 0), (0, 0)])
    wanted = [padded[:, device * length : device * length + count] for device in range(devices)]
    np.testing.assert_array_equal(got, np.concatenate(wanted, axis=1))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
def test_each_device_starts_where_the_one_before_ends(reverse, parts):
    draw = np.random.default_rng(0).normal
    products, lasts, first = draw(size=(parts, 8, 3)), draw(size=(parts, 8, 3)), draw(size=(parts, 3))

    def start(products, lasts, first):
        every = gathered((tuple(products), tuple(lasts)), "time")
        first = on_the_same_devices(tuple(first), "time")
        return jnp.stack(state_of_device(*every, None, first, "time", reverse))

    along = PartitionSpec(None, "time")
    got = divided(start, 8, (along, along, PartitionSpec()), along)(
        *(x.astype("float32") for x in (products, lasts, first[:, None]))
    )
    as_numbers = [x[0] + (1j * x[1] if parts == 2 else 0) for x in (products, lasts, first)]
    state, wanted = as_numbers[2], {}
    for device in range(7, -1, -1) if reverse else range(8):
        wanted[device] = state
        state = as_numbers[0][device] * state + as_numbers[1][device]
    wanted = np.stack([wanted[device] for device in range(8)])
    assert_close(got, np.stack([wanted.real, wanted.imag][:parts]))


def test_the_first_device_and_with_reverse_the_last():
    def both():
        return jnp.stack([is_first("time"), is_first("time", reverse=True)])[None]

    np.testing.assert_array_equal(
        divided(both, 4, (), ROWS)(), [[True, False], [False, False], [False, False], [False, True]]
    )


def test_marking_changes_nothing_and_gradients_are_summed_over_the_devices():
    def weighted(weight, flag, x):
        weight, flag = on_the_same_devices((weight, flag), "time", x)
        return x * weight + flag

    function = divided(weighted, 4, (PartitionSpec(), PartitionSpec(), ROWS), ROWS)
    x = jnp.asarray([1.0, 2.0, jnp.nan, 4.0])
    np.testing.assert_array_equal(function(3.0, True, x), 3.0 * x + 1.0)
    assert jax.grad(lambda weight: function(weight, False, x[:2].repeat(2)).sum())(3.0) == 6.0


def test_an_axis_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="^scan: axis_name must be an axis of the mesh .* Got 'width'."):
        divided(lambda x: x * num_devices("scan", "width"), 2, STEPS, STEPS)(np.ones((1, 2)))
    assert divided(lambda x: x * num_devices("scan", "time"), 2, STEPS, STEPS)(np.ones((1, 2))).sum() == 4


def test_there_are_eight_devices():
    assert divided(lambda: lax.axis_index("time")[None], 8, (), ROWS)().tolist() == list(range(8))
