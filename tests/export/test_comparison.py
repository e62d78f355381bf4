"""That the comparison of programs with models passes what a model computes, and nothing else."""

import keras
import numpy as np
import pytest

from keras_griffin.export.program import program_of
from keras_griffin.export.write import _whole
from tests.export.comparison import MODELS, assert_same_numbers

pytestmark = pytest.mark.any_backend

WHATS = (("step", None), ("chunk", 7), ("sequence", None))


def runner(model, what, chunk, changed=lambda feeds: feeds):
    """A call of the program on the active backend, with changed inputs."""
    program = program_of(_whole(model), what, chunk)

    def run(feeds):
        feeds = changed(feeds)
        tensors = (keras.ops.convert_to_tensor(feeds[port.name]) for port in program.ports)
        return dict(zip(program.results, map(keras.ops.convert_to_numpy, program.function(*tensors)), strict=True))

    return run


@pytest.mark.parametrize("what, chunk", WHATS)
@pytest.mark.parametrize("name", MODELS)
def test_the_function_itself_passes(name, what, chunk):
    model = MODELS[name]()
    assert_same_numbers(runner(model, what, chunk), model, what, chunk)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lost", ["reset", "past.0.recurrent"])
def test_a_lost_input_is_found(lost, name):
    model = MODELS[name]()
    run = runner(model, "step", None, lambda feeds: {**feeds, lost: np.zeros_like(feeds[lost])})
    with pytest.raises(AssertionError, match="calls"):
        assert_same_numbers(run, model, "step")
