"""docs/examples/train.py as a launcher starts it; at one step a signal ends a process or the launcher, once."""

import atexit
import json
import os
import signal
import sys
import time
from pathlib import Path

import keras

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))
from train import train  # noqa: E402

#: Small, with rows of which each has its own padding.
SETTINGS = {
    "sequence_length": 16,
    "epochs": 4,
    "save_every": 3,
    "model": {"width": 16, "num_layers": 2, "num_heads": 2, "window": 8, "block_pattern": ["recurrent", "local_mqa"]},
}


class Kill(keras.callbacks.Callback):
    """End this process before a step, by `kill -9`, or its launcher, by SIGTERM; once, noting what is saved by then."""

    def __init__(self, folder: str, step: int, whom: str):
        super().__init__()
        self.folder, self.step, self.whom, self.steps = folder, step, whom, 0

    def on_train_batch_begin(self, batch, logs=None):
        marker = saved_by_then(self.folder)
        if self.steps == self.step and not marker.exists():
            marker.write_text(max(Path(self.folder).glob("*.safetensors")).stem.removeprefix("step-"))
            if self.whom == "itself":
                os.kill(os.getpid(), signal.SIGKILL)
            end_launcher()
        self.steps += 1


def saved_by_then(folder: str) -> Path:
    """The file with the step that the run had saved last when a signal ended something."""
    return Path(f"{folder}.killed")


def end_launcher() -> None:
    """Send the launcher SIGTERM, and wait until this process has it from there."""
    deadline = time.monotonic() + 60
    received, handler = [], signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *arguments: (received.append(arguments), handler(*arguments)))
    os.kill(os.getppid(), signal.SIGTERM)
    while not received:
        if time.monotonic() > deadline:
            raise TimeoutError("the launcher must pass SIGTERM on within a minute")
        time.sleep(0.01)


def environment(place: str, count: int, index: int) -> dict[str, str]:
    """The variables by which a launcher names the processes."""
    if keras.backend.backend() == "jax":
        values = {"JOB_ADDRESSES": place, "NUM_PROCESSES": count, "PROCESS_ID": index}
        return {f"KERAS_DISTRIBUTION_{name}": str(value) for name, value in values.items()}
    address, port = place.split(":")
    values = {"MASTER_ADDR": address, "MASTER_PORT": port, "WORLD_SIZE": count, "RANK": index}
    return {name: str(value) for name, value in values.items()}


def train_in(
    folder: str, tokens: str, rows: str, weights: str, dtype: str, place=None, count: int = 1, index: int = 0
) -> dict:
    """The history of a run, in one of several processes, or in one."""
    if count > 1:
        os.environ |= environment(place, count, index)
    return train(tokens, folder, {**SETTINGS, "rows": rows, "weights": weights, "dtype": dtype})


def fail_if_joined() -> None:
    """Exit with an error if PyTorch's process group is still there."""
    if sys.modules["torch"].distributed.is_initialized():
        os._exit(1)


if __name__ == "__main__":
    if keras.backend.backend() == "torch":
        # Runs after what the example registers.
        atexit.register(fail_if_joined)
    # As where it isn't installed: in seconds Keras would load it, to set its seed.
    sys.modules["tensorflow"] = None
    folder, tokens, rows, weights, dtype, step, whom = sys.argv[1:]
    number = os.environ.get("RANK", os.environ.get("SLURM_PROCID"))
    kill = [Kill(folder, int(step), whom)] if number == "1" else []
    settings = {**SETTINGS, "rows": rows, "weights": weights, "dtype": dtype, "find_processes": True}
    print(json.dumps(train(tokens, folder, settings, kill)["loss"]))
