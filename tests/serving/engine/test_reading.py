"""A prompt, cut where its state is kept."""

import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.engine.job import Job
from keras_griffin.serving.engine.kept_states import KeptStates
from keras_griffin.serving.engine.reading import Reading

pytestmark = pytest.mark.any_backend


def test_pieces_end_at_segments_and_after_every_so_many_tokens():
    state = Griffin(GriffinConfig(8, 8, 1, num_heads=1)).initial_state(1)
    kept = KeptStates(100 * state.num_bytes)
    segments = [np.arange(length, dtype="int32") for length in (3, 0, 9, 2)]

    def ends():
        reading = Reading([Job(segments, 1, print)], state, kept_every=5)
        reading.continue_from(kept)
        found = [reading.read]
        while not reading.is_done:
            reading.went_on(len(reading.piece(4)), state, kept)
            found.append(reading.read)
        return found

    # Never more than 4; at 3 and 12 a segment ends, and at 5 and 10 the state is kept.
    assert ends() == [0, 3, 5, 9, 10, 12, 14]
    assert len(kept) == 5
    assert ends() == [14]
    segments[-1] = segments[-1] + 1
    assert ends() == [12, 14]


def test_of_many_short_segments_few_are_cuts():
    state = Griffin(GriffinConfig(8, 8, 1, num_heads=1)).initial_state(1)
    reading = Reading([Job([np.zeros(1, "int32")] * 1000, 1, print)], state, kept_every=500)
    sizes = []
    while not reading.is_done:
        sizes.append(len(reading.piece(128)))
        reading.went_on(sizes[-1], state, KeptStates(0))
    assert len(sizes) < 60 and sizes[-8:-1] == [1] * 7
