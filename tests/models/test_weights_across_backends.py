"""One weights file gives the same logits on every backend, which decides by itself whether it compiles."""

import os
import subprocess
import sys

import keras
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
assert model.jit_compile == keras.Sequential().jit_compile
numpy.save(sys.argv[3], keras.ops.convert_to_numpy(model(numpy.load(sys.argv[2]))))
"""


@pytest.mark.slow
def test_the_next_backend_gives_the_same_logits(tmp_path):
    other = next_backend()
    model = strong(Griffin(CONFIG))
    # True on JAX, with which PyTorch, where it is False, would compile for a minute.
    model.compile("sgd", jit_compile=keras.Sequential().jit_compile)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "tokens.npy", TOKENS)
    paths = [str(tmp_path / name) for name in ("model.keras", "tokens.npy", "logits.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *paths], env={**os.environ, "KERAS_BACKEND": other}, check=True)
    assert_close(model(TOKENS), np.load(tmp_path / "logits.npy"))
