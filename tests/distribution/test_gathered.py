"""What is refused; test_many_processes.py and test_fully_shard.py gather models of two processes."""

import keras
import pytest

from keras_griffin.distribution import gathered
from tests.distribution.tiny import model


@pytest.mark.parametrize("kind", [model, lambda: keras.layers.Dense(2)])
def test_a_model_of_one_process_is_refused(kind):
    with pytest.raises(ValueError, match="^gathered: several processes must have the model. Got <.*, which one has.$"):
        gathered(kind())
