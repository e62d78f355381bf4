"""Rows for the answers that there are, and not many more."""

import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.engine.answer import Answer
from keras_griffin.serving.engine.batch import Batch
from keras_griffin.serving.engine.job import Job
from keras_griffin.serving.engine.kept_states import KeptStates
from keras_griffin.serving.engine.reading import Reading
from keras_griffin.serving.engine.rows import Rows
from keras_griffin.serving.engine.steps import preparing
from keras_griffin.tokenizers import ByteTokenizer


@pytest.mark.any_backend
def test_there_are_as_many_rows_as_a_power_of_two():
    model = Griffin(GriffinConfig(256, 8, 1, num_heads=1))
    prepare, initial = preparing(model), model.initial_state(1)
    batch = Batch(prepare, Rows(prepare, initial), KeptStates(0))

    def answer(most_tokens):
        job = Job([np.array([1], "int32")], most_tokens, lambda event: None, temperature=0)
        return Answer(job, Reading([job], initial, 4), ByteTokenizer())

    answers = [answer(count) for count in (1, 2, 2, 4, 4)]
    state = model.prefill([[1]])
    batch.rearrange(answers, [state] * 5)
    sizes = []
    for _ in range(4):
        sizes.append(batch._states[0].num_rows)
        ended = batch.step()
        assert all(len(each.token_ids) == each.job.most_tokens for each in ended)
    assert sizes == [8, 4, 2, 2] and not batch.live and not batch._states
    wanted = model.generate([[1]], 4)[0][1:].tolist()
    assert all(each.token_ids == wanted[: each.job.most_tokens] for each in answers)
