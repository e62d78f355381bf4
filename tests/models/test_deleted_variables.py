"""Deleting variables without a search for garbage."""

import gc
import weakref

import keras
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.deleted_variables import without_looking_for_garbage


@pytest.fixture
def nothing_frozen():
    gc.unfreeze()


def test_what_is_deleted_is_gone(nothing_frozen):
    layer = keras.layers.Dense(3, use_bias=False)
    layer.build((None, 2))
    kernel = weakref.ref(layer._kernel)
    with without_looking_for_garbage():
        layer.quantize("int8")
        assert kernel() is None
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_quantising_a_model_does_so(nothing_frozen, monkeypatch):
    frozen = []
    monkeypatch.setattr(keras.Model, "quantize", lambda *_, **__: frozen.append(gc.get_freeze_count()))
    Griffin(GriffinConfig(vocabulary_size=5, width=8, num_layers=1, num_heads=1)).quantize("int8")
    assert frozen[0] > 0 and gc.get_freeze_count() == 0


def test_after_an_error_too(nothing_frozen):
    with pytest.raises(KeyError), without_looking_for_garbage():
        raise KeyError
    assert gc.get_freeze_count() == 0
