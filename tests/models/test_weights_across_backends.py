"""One weights file gives the same logits on every backend."""

import os
import subprocess
import sys

import numpy as np
import pytest

from keras_griffin.models import Griffin
from keras_griffin.testing.closeness import assert_close
from tests.models.tiny import TINY, strong
from tests.next_backend import next_backend

CONFIG = TINY.replace(scale_embeddings=True)
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
    model = strong(Griffin(CONFIG))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "tokens.npy", TOKENS)
    paths = [str(tmp_path / name) for name in ("model.keras", "tokens.npy", "logits.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *paths], env={**os.environ, "KERAS_BACKEND": other}, check=True)
    assert_close(model(TOKENS), np.load(tmp_path / "logits.npy"))
