"""One weights file gives the same logits on every backend."""

import os
import subprocess
import sys

import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.next_backend import next_backend

CONFIG = GriffinConfig(vocabulary_size=13, width=32, num_layers=3, num_heads=2, window=5, scale_embeddings=True)
TOKENS = np.random.default_rng(0).integers(0, 13, (2, 20)).astype("int32")
ELSEWHERE = """
import sys
import keras_griffin, keras, numpy
model = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], keras.ops.convert_to_numpy(model(numpy.load(sys.argv[2]))))
"""


@pytest.mark.slow
def test_the_next_backend_gives_the_same_logits(tmp_path):
    other = next_backend()
    model = Griffin(CONFIG)
    for i, weight in enumerate(model.weights):
        weight.assign(as_array(weight) + 0.2 * np.random.default_rng(i).normal(size=weight.shape))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "tokens.npy", TOKENS)
    paths = [str(tmp_path / name) for name in ("model.keras", "tokens.npy", "logits.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *paths], env={**os.environ, "KERAS_BACKEND": other}, check=True)
    assert_close(model(TOKENS), np.load(tmp_path / "logits.npy"))
