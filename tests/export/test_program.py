"""`program_of`: the names, shapes and first values of what a program takes and returns."""

import keras
import numpy as np
import pytest

from keras_griffin.export.program import Port, Program, program_of
from keras_griffin.layers import RGLRU
from keras_griffin.models import Griffin, GriffinConfig, SequenceEncoder
from keras_griffin.models.pooling import POOLS


def encoder():
    x = keras.Input((None, 3), name="samples")
    return keras.Model(x, SequenceEncoder(8, 1)(x))


def test_a_step_has_no_axis_of_time_and_a_chunk_a_fixed_one():
    step, chunk = program_of(encoder(), "step"), program_of(encoder(), "chunk", 5)
    assert [port[:3] for port in step.inputs] == [("samples", ("batch", 3), "float32"), ("reset", ("batch",), "bool")]
    assert chunk.inputs[0] == Port("samples", ("batch", 5, 3), "float32")
    assert {"past.0.conv", "past.0.recurrent"} < {port.name for port in step.past}
    assert step.results == (*step.outputs, *(port.name.replace("past", "present") for port in step.past))


def test_a_sequence_has_no_state():
    program = program_of(encoder(), "sequence")
    assert program.ports == (Port("samples", ("batch", "time", 3), "float32"),)
    assert program.results == program.outputs and isinstance(program, Program)


def test_the_arguments_are_the_initial_state():
    program = program_of(Griffin(GriffinConfig(16, 8, 1, 2, block_pattern=("rwkv4",))), "step")
    arguments = dict(zip([port.name for port in program.ports], program.arguments({"batch": 2}), strict=True))
    assert arguments["token_ids"].shape == (2,) and not arguments["reset"].any()
    assert (arguments["past.0.log_weight"] == np.float32(-1e30)).all()


@pytest.mark.parametrize("pool", POOLS)
def test_a_step_of_a_pooled_encoder_gives_the_pool_so_far(pool):
    x = keras.Input((None, 3), name="samples")
    model = keras.Model(x, SequenceEncoder(8, 1, pool=pool, conv_kernel_size=4)(x))
    program, samples = program_of(model, "step"), np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    _, _, *state = program.arguments({"batch": 2})
    for t in range(5):
        # The second row starts again at the third sample.
        reset = np.array([False, t == 2])
        outputs, *state = program.function(*map(keras.ops.convert_to_tensor, (samples[:, t], reset, *state)))
    found = keras.ops.convert_to_numpy(outputs)
    np.testing.assert_allclose(found[:1], keras.ops.convert_to_numpy(model(samples[:1])), atol=1e-5)
    np.testing.assert_allclose(found[1:], keras.ops.convert_to_numpy(model(samples[1:, 2:])), atol=1e-5)


def test_a_state_that_grows_is_free_along_its_past():
    program = program_of(Griffin(GriffinConfig(16, 8, 1, 2, block_pattern=("global_mqa",))), "step")
    assert {port.shape[1] for port in program.past} == {"past"}


def test_names_that_layers_share_are_numbered():
    x = keras.Input((None, 4), name="x")
    both = keras.Model(x, [RGLRU(return_sequences=True, name=name)(x) for name in ("first", "second")])
    program = program_of(both, "step")
    assert program.outputs == ("first", "second")
    assert [port.name for port in program.past] == ["past.0.recurrent", "past.1.recurrent"]


def test_an_own_reset_of_the_model_takes_the_place_of_the_programs():
    x, reset = keras.Input((None, 4), name="x"), keras.Input((None,), name="reset", dtype="bool")
    program = program_of(keras.Model([x, reset], RGLRU(return_sequences=True)(x, reset=reset)), "step")
    assert [port.name for port in program.inputs] == ["x", "reset"]
