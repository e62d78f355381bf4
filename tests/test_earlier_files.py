"""Files that an earlier version wrote still load: `files_of_0_1` holds one of each kind, of small models.

PyTorch wrote the model, as a preset and as a `.keras` file, its state after a prompt, its logits there, and a token
file; each backend wrote its own run, cut off after three batches of eight.
"""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_griffin.generation import load_state
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import RandomWindows, ResumableRun, TokenFile

FILES = Path(__file__).parent / "files_of_0_1"
PROMPT = np.array([[1, 2, 3, 4, 5, 6]])
TEXT = np.random.default_rng(0).integers(97, 113, size=300).astype("uint8")
# The first decays were the paper's by default when the runs began; a run resumes with the settings that it began with.
CONFIG = GriffinConfig(256, 4, 3, 1, window=4, num_gate_blocks=1, decay_initializer="paper")


def test_a_model_and_its_state():
    logits = np.load(FILES / "logits.npy")
    preset = Griffin.from_preset(FILES / "preset")
    for model in (preset, keras.saving.load_model(FILES / "model.keras")):
        assert_close(model(PROMPT)[0, -1], logits)
    assert isinstance(preset.tokenizer, ByteTokenizer)
    state = load_state(FILES / "state.safetensors")
    assert as_array(state.tokens).tolist() == [6]
    assert_close(preset.logits(state.last[:, None])[0, 0], logits)
    np.testing.assert_array_equal(preset.generate([[]], 3, state=state)[0], preset.generate(PROMPT, 3)[0][6:])


def test_a_token_file():
    documents = TokenFile(FILES / "tokens")
    assert [document.tolist() for document in documents] == [[1, 2, 3], [4, 5], [6]]


@pytest.mark.trainable
def test_a_run(tmp_path):
    run = f"run_{keras.backend.backend()}"
    shutil.copytree(FILES / run, tmp_path / run)
    resumable = ResumableRun(tmp_path / run, save_every=2)
    assert resumable.step == 2
    model = Griffin(CONFIG)
    model.compile(keras.optimizers.SGD(0.1), model.loss)
    data = RandomWindows(TEXT, sequence_length=4, batch_size=2, num_batches=4)
    history = resumable.fit(model, data, 2, verbose=0).history
    assert ResumableRun(tmp_path / run).step == 8 and len(history["loss"]) == 2 and np.isfinite(history["loss"]).all()
