import random

import keras
import numpy as np
import pytest

from experiments.harness.further import FurtherRows, train_further
from experiments.harness.run import Run
from experiments.harness.training import falling_rate
from experiments.models.families import TINY
from keras_griffin.models import Hawk
from keras_griffin.tasks import TaskBatch

ROWS, LENGTH = 2, 4


def make_batch(index):
    token_ids = np.random.default_rng(index).integers(0, 16, size=(ROWS, LENGTH + 1)).astype("int32")
    return TaskBatch(token_ids[:, :-1], token_ids[:, 1:], np.ones((ROWS, LENGTH), "float32"))


@pytest.mark.any_backend
@pytest.mark.parametrize("is_carried", [False, True])
def test_rows_are_the_same_and_only_carried_ones_continue_each_other(is_carried):
    rows = FurtherRows(3, make_batch, is_carried)
    assert rows.num_batches == 3
    for index in range(3):
        inputs, targets, weights = rows[index]
        batch = make_batch(index)
        np.testing.assert_array_equal(inputs["token_ids"], batch.token_ids)
        np.testing.assert_array_equal(inputs["chunk"], [index if is_carried else 0] * ROWS)
        np.testing.assert_array_equal(targets, batch.targets)
        assert (inputs["segment_ids"] == 1).all() and (weights == 1).all()


@pytest.mark.trainable
def test_carried_states_change_what_is_learnt_from_the_second_step_on():
    """The first step has no state to continue from, so that one step is the same either way."""
    run = Run("e", "smoke", "Hawk", TINY, {}, "s", ROWS, 4, 1e-1, 0, 1, 1)
    random.seed(0)
    keras.utils.set_random_seed(0)
    model = Hawk(TINY.replace(block_pattern=("recurrent",), num_layers=1))
    first = model.get_weights()
    learnt = {}
    for steps in (1, 2):
        for is_carried in (False, True):
            model.set_weights(first)
            train_further(run, model, steps, make_batch, is_carried, falling_rate)
            learnt[steps, is_carried] = np.concatenate([np.ravel(each) for each in model.get_weights()])
    np.testing.assert_allclose(learnt[1, False], learnt[1, True], atol=1e-6)
    assert np.abs(learnt[2, False] - learnt[2, True]).max() > 1e-5
