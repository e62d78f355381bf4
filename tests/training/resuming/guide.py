"""The examples of docs/guides/resuming.md; as a program, `guide.py FOLDER STEPS`, the last of them.

The program trains in the folder until so many steps of its own are done, or to the end where STEPS is -1. It prints
ANSWERS and, as JSON, the step that it went on from and the CRC-32 of all variables.
"""

import json
import os
import sys
import zlib
from pathlib import Path

from scripts.page_examples import examples_of

if __name__ == "__main__":
    # Keras loads what is installed beside the backend, which takes the longest of all here.
    sys.modules.update(dict.fromkeys({"tensorflow", "torch", "sklearn"}))

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "resuming.md"


def examples() -> list[str]:
    """The blocks of Python, as they stand there."""
    return [example for _, example, _ in examples_of(PAGE)]


def replaced(text, changes):
    """A text in which each of the changes has something to change."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def main():
    folder, steps = sys.argv[1], int(sys.argv[2])

    import keras_griffin  # noqa: F401  Chooses the backend.

    import keras  # isort: skip

    from tests.training.resuming.cut_off_run import EPOCHS, make_data, make_model, values

    class CutOff(keras.callbacks.Callback):
        left = steps

        def on_train_batch_begin(self, batch, logs=None):
            if self.left == 0:
                print("ANSWERS" + json.dumps({"step": given["step"]}), flush=True)
                # As after SIGKILL: a save in the background may not have come to its end.
                os._exit(0)
            self.left -= 1

    # Where gradients are accumulated, the page says, the step is another.
    model = make_model(gradient_accumulation_steps=None)
    given = {"model": model, "windows": make_data(), "epochs": EPOCHS, "cut_off": CutOff()}
    changes = {"/runs/mine": folder, "save_freq=100": "save_freq=2", "[saving]": "[saving, cut_off]"}
    exec(compile(replaced(examples()[-1], changes), PAGE, "exec"), given)
    checksum = zlib.crc32(json.dumps(values(model)).encode())
    print("ANSWERS" + json.dumps({"step": given["step"], "variables": checksum}))


if __name__ == "__main__":
    main()
