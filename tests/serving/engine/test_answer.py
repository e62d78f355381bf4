"""An answer, from its tokens to its events."""

import numpy as np
import pytest

from keras_griffin.generation.uniform import uniform_numbers
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.engine.answer import Answer
from keras_griffin.serving.engine.job import Ended, Job, Token
from keras_griffin.serving.engine.kept_states import keys
from keras_griffin.serving.engine.reading import Reading
from keras_griffin.tokenizers import ByteTokenizer

pytestmark = pytest.mark.any_backend


def made(events, **options):
    state = Griffin(GriffinConfig(8, 8, 1, num_heads=1)).initial_state(1)
    job = Job([np.array([1, 2], "int32")], 3, events.append, **options)
    return Answer(job, Reading([job], state, 4), ByteTokenizer())


def test_its_numbers_are_those_of_its_row_of_generate():
    numbers = [row[2] for _, row in zip(range(5), uniform_numbers("test", 7, 3), strict=False)]
    answer = made([], seed=7, index=2)
    assert [answer.draw() for _ in range(5)] == numbers


def test_events_and_the_end():
    events = []
    answer = made(events, stop_ids=frozenset([5]), returns_state=True)
    assert answer.push(65, None) is None and answer.push(0xC3, None) is None and answer.push(66, None) == "length"
    answer.end("length", "a state")
    assert events == [Token(65, "A"), Token(0xC3, ""), Token(66, "�B"), Ended("", "length", "a state")]
    assert answer.key == next(keys(np.array([1, 2, 65, 0xC3, 66]), [5]))
    stopped = made(events := [], stop_ids=frozenset([5]))
    assert stopped.push(5, None) == "stop" and events == [Token(5, "")]
    assert made([], state="a client's").key is None
