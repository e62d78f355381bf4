import types

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("Keras's distribution is JAX's alone", allow_module_level=True)

import jax
import numpy as np
from jax import numpy as jnp

from keras_griffin.ops.shared.jax_division import Division, varying_with


@pytest.mark.parametrize(
    ("mesh", "rows", "channels", "expected"),
    [
        ({"batch": 2, "model": 4}, 6, 12, {"b": ("batch",), "c": ("model",)}),
        ({"batch": 2, "model": 4}, 3, 12, {"b": (), "c": ("model",)}),
        ({"batch": 2, "model": 4}, 2, 6, {"b": ("batch",), "c": ()}),
        ({"model": 4, "batch": 2, "more": 3}, 2, 24, {"b": ("batch",), "c": ("model", "more")}),
        # Eight channels in four parts: of two each, which three don't divide.
        ({"model": 4, "batch": 2, "more": 3}, 2, 8, {"b": ("batch",), "c": ("model",)}),
        ({"batch": 8}, 8, 5, {"b": ("batch",), "c": ()}),
    ],
)
def test_an_axis_divides_what_it_can(mesh, rows, channels, expected):
    division = Division(types.SimpleNamespace(shape=mesh), "batch")
    assert division.axes(rows, channels) == expected
    parts = {(): 1, ("model",): 4, ("model", "more"): 12}
    assert division.parts_of_channels(channels) == parts[expected["c"]]


def test_without_a_batch_axis_rows_stay_whole():
    division = Division(types.SimpleNamespace(shape={"model": 4}), None)
    assert division.axes(8, 8) == {"b": (), "c": ("model",)}


def test_what_varies_with_a_sequence_keeps_its_values():
    # Also beside numbers that are not finite.
    sequence = jnp.full((2, 3, 4), jnp.nan)
    states, channels, whole = jnp.arange(8.0).reshape(2, 4), jnp.arange(4.0), jax.sharding.PartitionSpec()
    mesh = jax.make_mesh((1,), ("batch",))
    for function in (varying_with, jax.shard_map(varying_with, mesh=mesh, in_specs=whole, out_specs=whole)):
        (state,), (channel, nothing) = function(sequence, (states,), (channels, None))
        np.testing.assert_array_equal(state, states)
        np.testing.assert_array_equal(channel, channels)
        assert nothing is None
