"""OpenVINO gives what the backend gave that saved a model."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_griffin.layers import CGLRU, RGLRU
from keras_griffin.models import Griffin, GriffinConfig, SequenceEncoder
from keras_griffin.testing.arrays import as_array

pytestmark = pytest.mark.any_backend

pytest.importorskip("openvino")

ROOT = Path(__file__).resolve().parents[2]
READER = """
import sys
import openvino
compile_model = openvino.Core.compile_model
# Else it computes in bfloat16 where the CPU can.
openvino.Core.compile_model = lambda core, model, device, options: compile_model(
    core, model, device, {**options, "INFERENCE_PRECISION_HINT": "f32"}
)
import keras_griffin, keras, numpy
from keras_griffin.models import Griffin
folder, *names = sys.argv[1:]
for name in names:
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    if isinstance(model, Griffin):
        try:
            model.generate([[1, 2]], 1)
        except ValueError as error:
            print(error)
        packed = model.packed()
        rows = numpy.load(f"{folder}/packed.npz")
        numpy.save(f"{folder}/packed.npy", packed.predict(dict(rows), verbose=0))
    numpy.save(f"{folder}/{name}.npy", model.predict(numpy.load(f"{folder}/{name}_inputs.npy"), verbose=0))
"""


@pytest.mark.slow
def test_it_serves_what_another_backend_saved(tmp_path):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(2, 21, 3)).astype("float32")
    features[1, 13:] = 0.0
    # So many that attention goes by blocks; the features are few enough for one.
    tokens = generator.integers(0, 32, (2, 40)).astype("int32")
    segments = np.tile(np.arange(40, dtype="int32") // 15 + 1, (2, 1))
    inputs = keras.Input((None, 3))
    seen = keras.layers.Masking()(inputs)
    both_ways = SequenceEncoder(8, bidirectional=True, block_pattern=("recurrent", "local_mqa", "global_mqa"), window=6)
    config = GriffinConfig(vocabulary_size=32, width=8, num_layers=3, num_heads=2, window=6)
    griffin = Griffin(config)
    models = {
        "encoder": (keras.Model(inputs, SequenceEncoder(8, pool="mean")(seen)), features),
        "both_ways": (keras.Model(inputs, both_ways(inputs)), features),
        "rg_lru": (keras.Model(inputs, RGLRU()(keras.layers.Dense(4)(seen))), features),
        "cg_lru": (keras.Model(inputs, CGLRU(return_sequences=True)(keras.layers.Dense(4)(seen))), features),
        "griffin": (griffin, tokens),
    }
    for name, (model, batch) in models.items():
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}_inputs.npy", batch)
    rows = {"token_ids": tokens, "segment_ids": segments}
    np.savez(tmp_path / "packed.npz", **rows)
    run = subprocess.run(
        [sys.executable, "-c", READER, tmp_path, *models],
        env={**os.environ, "KERAS_BACKEND": "openvino", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "Got openvino, which supports calls and `predict` only." in run.stdout
    expected = {name: model(batch) for name, (model, batch) in models.items()} | {"packed": griffin.packed()(rows)}
    for name, outputs in expected.items():
        outputs = as_array(outputs)
        # Its functions are less exact than float32, and 1 - a^2 makes that more.
        assert np.abs(np.load(tmp_path / f"{name}.npy") - outputs).max() <= 5e-5 * np.abs(outputs).max(), name
