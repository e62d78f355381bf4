"""What Griffin can do, one model can do that has every mixer in its pattern."""

import keras
import numpy as np
import pytest

from keras_griffin.generation import load_state, save_state
from keras_griffin.inspection import cache_bytes
from keras_griffin.mixers import mixer_names
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.testing import check_no_leak
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.models.tiny import strong

#: All but global attention, whose state grows.
NAMES = tuple(name for name in mixer_names() if name != "global_mqa")
CONFIG = GriffinConfig(13, 16, len(NAMES), 2, mlp_width=4, window=5, num_gate_blocks=4, block_pattern=NAMES)
TOKENS = np.random.default_rng(0).integers(1, 13, (2, 12)).astype("int32")
TARGETS = np.roll(TOKENS, -1, axis=1)


@pytest.fixture(scope="module")
def model():
    """A model in which every layer matters, and its logits."""
    model = strong(LanguageModel(CONFIG))
    return model, as_array(model(TOKENS))


class Batch(keras.utils.PyDataset):
    """A data set of one batch."""

    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.x, TARGETS


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def test_the_config_knows_its_size(model):
    model, _ = model
    assert model.count_params() == CONFIG.parameter_count()
    _, state = model.advance(TOKENS, model.initial_state(2))
    floats = [
        leaf for leaf in keras.tree.flatten(state.blocks) if "float" in keras.backend.standardize_dtype(leaf.dtype)
    ]
    num_bytes = sum(int(np.prod(leaf.shape[1:])) * 4 for leaf in floats)
    assert num_bytes == cache_bytes(CONFIG, 12, "float32") == cache_bytes(CONFIG, 999, "float32")


def test_packed_documents_are_isolated(model):
    model, _ = model
    segments = np.array([[1] * 5 + [0] + [2] * 6, [3] * 3 + [4] * 8 + [0]])
    rows = {"token_ids": TOKENS, "segment_ids": segments}
    check_no_leak(model.packed(), rows, gradients=False, tolerance=1e-4)
    logits = as_array(model.packed()(rows))
    assert_close(logits[0, 6:], as_array(model(TOKENS[:1, 6:]))[0], factor=10)


def test_decoded_scored_and_saved(model, tmp_path):
    """Prefill, a state through a file, and one step at a time say what the whole text says."""
    model, logits = model
    save_state(model.prefill(TOKENS[:, :7]), tmp_path / "state.safetensors")
    state, pieces = load_state(tmp_path / "state.safetensors"), []
    for start, stop in ((7, 8), (8, 12)):
        piece, state = model.advance(TOKENS[:, start:stop], state)
        pieces.append(as_array(piece))
    assert_close(np.concatenate(pieces, axis=1), logits[:, 7:], factor=10)
    rows = model.generate(TOKENS[:, :7], 3)
    expected = as_array(model(rows[:, :-1]))[:, 6:].argmax(-1)
    np.testing.assert_array_equal(rows[:, 7:], expected)
    assert [list(piece) for piece in model.stream(TOKENS[:1, :7], 3)] == [[token] for token in rows[0, 7:]]
    scores = model.score(TOKENS)
    log_probabilities = np.log(np.take_along_axis(softmax(logits[:, :-1]), TOKENS[:, 1:, None], axis=-1))[..., 0]
    np.testing.assert_allclose([score[-11:] for score in scores], log_probabilities, atol=1e-4)


@pytest.mark.trainable
def test_carried_and_rematerialised_training_is_the_same_training(model):
    """One step of plain gradient descent on whole rows, on chunks with a state, and with blocks made again."""
    model, _ = model
    before = model.get_weights()

    def trained(other, x):
        other.compile(keras.optimizers.SGD(0.01), loss=model.loss)
        other.fit(Batch(x), verbose=0, shuffle=False)
        weights = model.get_weights()
        model.set_weights(before)
        return weights

    plain = trained(model, TOKENS)
    moved = zip(model.weights, plain, before, strict=True)
    assert not [weight.path for weight, new, old in moved if not np.abs(new - old).max() > 0]
    model.rematerialize = True
    again = trained(model, TOKENS)
    model.rematerialize = False
    chunk = {"token_ids": TOKENS, "segment_ids": np.ones_like(TOKENS), "chunk": np.zeros(2, "int32")}
    carried = trained(model.carried(2), chunk)
    for one, other, third in zip(plain, again, carried, strict=True):
        assert_close(np.float32(other), one)
        assert_close(np.float32(third), one)


def test_half_precision(model):
    whole, logits = model
    half = LanguageModel(CONFIG, dtype="mixed_bfloat16")
    half.set_weights(whole.get_weights())
    outputs = as_array(half(TOKENS))
    assert np.isfinite(outputs).all()
    # Seventeen layers round one after the other.
    assert np.abs(outputs - logits).mean() < 0.1 * np.abs(logits).mean()


def test_adapters_of_every_mixer(model):
    whole, logits = model
    adapted = LanguageModel(CONFIG)
    adapted.set_weights(whole.get_weights())
    adapted.enable_lora(2)
    assert_close(adapted(TOKENS), logits)
    paths = {path.split("/")[0] for path in adapted.lora.variables if "/mixer/" in path}
    assert paths == {f"block_{index}" for index in range(len(NAMES))}


def test_quantised(model):
    whole, logits = model
    quantized = LanguageModel(CONFIG)
    quantized.set_weights(whole.get_weights())
    quantized.quantize("int8")
    outputs = as_array(quantized(TOKENS))
    assert np.abs(outputs - logits).mean() < 0.2 * np.abs(logits).mean()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras distributes on JAX only")
def test_laid_out_on_a_mesh():
    from keras_griffin.distribution import layout_map

    mesh = keras.distribution.DeviceMesh((1, 1), ["batch", "model"], keras.distribution.list_devices()[:1])
    layouts = layout_map(CONFIG, mesh)
    model = LanguageModel(CONFIG)
    assert not [weight.path for weight in model.weights if layouts[weight.path] is None]
