"""Make the trained model that comes with the package from a run of `train` on Python's standard library.

    python scripts/package_preset.py runs/RUN keras_griffin/models/python_tiny

The file holds int8 kernels, which `from_preset` turns into floating point again. Both models, the run's and the
packaged one, are judged on the run's held-out files, whole.
"""

import json
import sys
import zlib
from pathlib import Path

import keras

from keras_griffin.generation import bits_per_byte
from keras_griffin.models import Griffin
from keras_griffin.models.saving.checksums import CHECKSUMS
from keras_griffin.models.saving.preset_files import CONFIG
from keras_griffin.tasks.text import load_corpus

#: The largest weight file that the package may hold.
MAX_BYTES = 2_000_000


def package(run: Path, folder: Path) -> None:
    """Write the preset, and print the bits per byte of both models."""
    model = keras.saving.load_model(run / "model.keras")
    text = load_corpus([], characters=True).validation.tobytes().decode()
    print(f"{run}: {bits_per_byte(model, text):.3f} bits per byte")
    model.quantize("int8")
    model.save_to_preset(folder)
    declare_dequantized(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > MAX_BYTES:
        raise ValueError(f"package: a packaged model must take at most {MAX_BYTES} bytes. Got {size}.")
    print(f"{folder}: {bits_per_byte(Griffin.from_preset(folder), text):.3f} bits per byte, {size:,} bytes")


def declare_dequantized(folder: Path) -> None:
    """Add to a preset's config that its kernels are int8 in the file alone."""
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    (folder / CONFIG).write_text(json.dumps({**config, "dequantize": True}, indent=2) + "\n", "utf-8")
    sums = json.loads((folder / CHECKSUMS).read_text("utf-8"))
    sums["files"][CONFIG] = zlib.crc32((folder / CONFIG).read_bytes())
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    package(Path(sys.argv[1]), Path(sys.argv[2]))
