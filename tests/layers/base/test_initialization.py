import threading

import keras
import numpy as np
import pytest

from keras_griffin.layers import CGLRU
from keras_griffin.layers.base.initialization import random_initializer, without_initialization
from keras_griffin.models import Griffin, GriffinConfig

CONFIG = GriffinConfig(vocabulary_size=7, width=16, num_layers=3, num_heads=2, window=4)


def is_drawn(initializer):
    return not isinstance(random_initializer(initializer), keras.initializers.Zeros)


def test_a_model_made_without_initialization_is_all_zeros():
    with without_initialization():
        model = Griffin(CONFIG)
        layer = CGLRU()
        layer.build((None, None, 16))
    for variable in [*model.weights, *layer.weights]:
        assert not np.any(keras.ops.convert_to_numpy(variable)), variable.path
    drawn = [np.any(keras.ops.convert_to_numpy(variable)) for variable in Griffin(CONFIG).weights]
    assert any(drawn)


def test_it_ends_with_the_block_also_after_an_error():
    initializer = keras.initializers.RandomNormal()
    with pytest.raises(KeyError), without_initialization():
        assert not is_drawn(initializer)
        raise KeyError
    assert random_initializer(initializer) is initializer


def test_other_threads_go_on_drawing():
    initializer, seen = keras.initializers.RandomNormal(), []
    with without_initialization():
        thread = threading.Thread(target=lambda: seen.append(is_drawn(initializer)))
        thread.start()
        thread.join()
    assert seen == [True]
