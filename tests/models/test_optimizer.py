import keras
import numpy as np
import pytest

from keras_griffin.layers import CGLRU
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training import AdamW


def tiny_griffin():
    return Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))


def step_without_gradients(optimizer, variables):
    """The factor by which each variable shrinks when only weight decay acts."""
    for variable in variables:
        variable.assign(np.ones(variable.shape))
    optimizer.apply([keras.ops.zeros(variable.shape) for variable in variables], variables)
    return {variable.path: keras.ops.convert_to_numpy(variable.value).min().item() for variable in variables}


@pytest.mark.trainable
def test_weight_decay_acts_on_the_matrices_outside_recurrence_and_embedding():
    model = tiny_griffin()
    factors = step_without_gradients(AdamW(0.5, weight_decay=0.2), model.trainable_variables)
    decayed = {path for path, factor in factors.items() if factor < 1}
    assert all(factors[path] == pytest.approx(0.9) for path in decayed)
    spared = set(factors) - decayed
    blocks = {path.split("/")[-2] for path in decayed}
    assert blocks >= {"gate", "input_projection", "output_projection", "conv", "query", "key", "value"}
    recurrence = {path for path in factors if "/rg_lru/" in path}
    vectors = {variable.path for variable in model.trainable_variables if len(variable.shape) < 2}
    assert spared == recurrence | vectors | {model.token_embedding.embeddings.path}
    # Lambda, and the kernel and the bias of two gates, for each of the two recurrent blocks.
    assert len(recurrence) == 10


@pytest.mark.trainable
def test_biases_that_are_matrices_and_the_complex_recurrence_are_spared():
    model = keras.Sequential([keras.Input((None, 32)), CGLRU(name="cg_lru"), keras.layers.Dense(1, name="head")])
    factors = step_without_gradients(AdamW(0.5, weight_decay=0.2), model.trainable_variables)
    assert [path for path, factor in factors.items() if factor < 1] == [model.layers[-1].kernel.path]


@pytest.mark.trainable
def test_a_loaded_model_spares_the_same_variables(tmp_path):
    model = tiny_griffin()
    model.compile(AdamW(0.5, weight_decay=0.2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, AdamW)
    expected = step_without_gradients(model.optimizer, model.trainable_variables)
    factors = step_without_gradients(loaded.optimizer, loaded.trainable_variables)
    assert list(factors.values()) == pytest.approx(list(expected.values()))


@pytest.mark.trainable
def test_gradients_are_clipped_by_their_global_norm():
    moved = []
    for scale in (1.0, 100.0):
        variable = keras.Variable(np.zeros((2, 2), "float32"))
        optimizer = AdamW(0.1, weight_decay=0.0, epsilon=1.0)
        optimizer.apply([keras.ops.full((2, 2), scale)], [variable])
        moved.append(keras.ops.convert_to_numpy(variable.value))
    np.testing.assert_allclose(*moved, rtol=1e-5)
