"""A mixer that only the tests define works everywhere in the package."""

import keras
import numpy as np
import pytest

from keras_griffin.generation import load_state, save_state
from keras_griffin.inspection import cache_bytes, decode_cost
from keras_griffin.mixers import MIXERS
from keras_griffin.models import Griffin
from keras_griffin.testing.arrays import as_array
from keras_griffin.training.numerics.layer_walk import walk_layers
from tests.mixers.average import Average, config_of_average


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(MIXERS, "average", Average)
    return config_of_average()


@pytest.mark.any_backend
@pytest.mark.slow
def test_it_is_made_counted_decoded_saved_and_loaded(config, tmp_path):
    model = Griffin(config)
    assert model.blocks[0].mixer.rate == 0.75
    assert model.count_params() == config.parameter_count()
    assert cache_bytes(config, 9, "float32") == 16 * 4 + 2 * 4 * 8 * 4
    assert decode_cost(config, 1, 9).cache_bytes == 16 * 4 + 2 * 4 * 8 * 2
    (report,) = walk_layers(model, np.array([[1, 2, 3]]), threshold=0.7).decays
    assert (report.layer, report.slow_steps, report.bounded_sqrt_hits) == ("block_0/mixer", 1.0, 0.0)
    said = model.generate([[1, 2, 3]], 5)
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "model.keras"), Griffin.from_preset(tmp_path / "preset")):
        assert loaded.config == config
        np.testing.assert_array_equal(loaded.generate([[1, 2, 3]], 5), said)
    state = model.prefill([[1, 2, 3]])
    save_state(state, tmp_path / "state.safetensors")
    after = [
        as_array(model.advance(np.array([[4, 5]]), kept)[0])
        for kept in (state, load_state(tmp_path / "state.safetensors"))
    ]
    np.testing.assert_array_equal(*after)
    if keras.backend.backend() == "numpy":
        # Keras's int8 warns there of what it needs for gradients alone.
        return
    model.quantize("int8")
    assert np.isfinite(as_array(model(np.array([[1, 2, 3]])))).all()


@pytest.mark.any_backend
@pytest.mark.trainable
def test_it_trains_packed_and_carried(config):
    tokens = np.random.default_rng(0).integers(0, 13, (4, 10)).astype("int32")
    segments = np.repeat([[1] * 6 + [2] * 4], 4, axis=0).astype("int32")
    model = Griffin(config)
    assert "block_0/mixer/map/kernel" in {weight.path for weight in model.optimizer_groups()["no_decay"]}
    assert np.isfinite(model.fit(tokens, tokens, verbose=0).history["loss"]).all()
    rows = {"token_ids": tokens, "segment_ids": segments}
    assert np.isfinite(model.packed().fit(rows, tokens, verbose=0).history["loss"]).all()
    carried = model.carried(4)
    assert np.isfinite(carried.train_on_batch({**rows, "chunk": np.zeros(4, "int32")}, tokens))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's distribution is JAX's alone")
def test_it_is_laid_out_on_a_mesh(config):
    from keras_griffin.distribution import layout_map

    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"], [f"cpu:{index}" for index in range(4)])
    layouts = layout_map(config, mesh)
    assert layouts["block_0/mixer/strength"].axes == ("model",)
    assert layouts["block_0/mixer/map/kernel"].axes == ("model", "batch")
