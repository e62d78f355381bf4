"""docs/examples/train.py as a launcher starts it; `kill -9` may end a process at a step of its first start."""

import json
import os
import signal
import sys
from pathlib import Path

import keras

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))
from train import train  # noqa: E402

#: Small, with rows of which each has its own padding.
SETTINGS = {
    "sequence_length": 16,
    "epochs": 4,
    "save_every": 1,
    "model": {"width": 16, "num_layers": 2, "num_heads": 2, "window": 8, "block_pattern": ["recurrent", "local_mqa"]},
}


class Kill(keras.callbacks.Callback):
    """End this process before a step, once."""

    def __init__(self, marker: Path, step: int):
        super().__init__()
        self.marker, self.step, self.steps = marker, step, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.steps == self.step and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps += 1


def environment(place: tuple[str, int], count: int, index: int) -> dict[str, str]:
    """The variables by which a launcher names the processes."""
    if keras.backend.backend() == "jax":
        values = {"JOB_ADDRESSES": ":".join(map(str, place)), "NUM_PROCESSES": count, "PROCESS_ID": index}
        return {f"KERAS_DISTRIBUTION_{name}": str(value) for name, value in values.items()}
    values = {"MASTER_ADDR": place[0], "MASTER_PORT": place[1], "WORLD_SIZE": count, "RANK": index}
    return {name: str(value) for name, value in values.items()}


def train_in(
    folder: str, tokens: str, rows: str, weights: str, dtype: str, place=None, count: int = 1, index: int = 0
) -> dict:
    """The history of a run, in one of several processes, or in one."""
    if count > 1:
        os.environ |= environment(place, count, index)
    return train(tokens, folder, {**SETTINGS, "rows": rows, "weights": weights, "dtype": dtype})


if __name__ == "__main__":
    # As where it isn't installed: in seconds Keras would load it, to set its seed.
    sys.modules["tensorflow"] = None
    folder, tokens, rows, weights, dtype, step = sys.argv[1:]
    number = os.environ.get("RANK", os.environ.get("SLURM_PROCID"))
    kill = [Kill(Path(f"{folder}.killed"), int(step))] if number == "1" else []
    settings = {**SETTINGS, "rows": rows, "weights": weights, "dtype": dtype, "find_processes": True}
    print(json.dumps(train(tokens, folder, settings, kill)["loss"]))
