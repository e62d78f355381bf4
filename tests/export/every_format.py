"""A model that another backend trained, in every format of this one: `python -m tests.export.every_format MODEL ROWS`.

MODEL is its `.keras` file, and ROWS, `.npz`, has rows and what the model gave for them there.
"""

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_griffin.export import FORMATS, export
from tests.export.comparison import assert_same_numbers


def readers():
    """By format, what opens a file, and calls it by names."""
    if keras.backend.backend() == "torch":
        from tests.export.test_torch_program import onnx_file, pt2_file

        return {"onnx": onnx_file, "pt2": pt2_file}
    if keras.backend.backend() == "jax":
        from tests.export.test_program_of_jax import runner

        return {"stablehlo": runner}
    from tests.export.test_program_of_tensorflow import saved_model, tflite

    return {"saved_model": saved_model, "tflite": tflite}


def main(file, rows):
    """Compare the model with the rows, and each file with the model."""
    model, given = keras.saving.load_model(file, compile=False), np.load(rows)
    found = keras.ops.convert_to_numpy(model(given["inputs"]))
    np.testing.assert_allclose(found, given["outputs"], rtol=0, atol=1e-5)
    for name, read in readers().items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{FORMATS[name].suffix}"
            export(model, path)
            assert_same_numbers(read(path), model, "step")
            print(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
