"""Print how many bytes a loss and its gradient need, over logits of all steps and over logits in chunks.

A process of its own, because TensorFlow keeps memory that it has had and uses it again. Linux only.
"""

import ctypes
from pathlib import Path

import keras_griffin  # noqa: F401  Chooses an installed backend where KERAS_BACKEND is unset; so it stands before keras.

import keras  # isort: skip
import numpy as np
from keras import ops

from keras_griffin.ops import linear_cross_entropy
from keras_griffin.ops.linear_cross_entropy import chunks
from keras_griffin.testing.gradients import value_and_gradient

PROCESS = Path("/proc/self")
STEPS, VOCABULARY, WIDTH = 2048, 32_768, 8
LOGITS_BYTES = 4 * STEPS * VOCABULARY


def main():
    chunks.LOGITS_AT_A_TIME = 40 * VOCABULARY
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(1, STEPS, WIDTH)).astype("float32")
    table = generator.normal(size=(VOCABULARY, WIDTH)).astype("float32")
    targets = generator.integers(VOCABULARY, size=(1, STEPS), dtype="int32")
    for loss in map(traced, (in_chunks, at_once)):
        # A few steps first: loading and compiling do not count.
        value_and_gradient(lambda x, y, loss=loss: loss(x, y, targets[:, :80]), inputs[:, :80], table)
        print(bytes_of_a_gradient(lambda x, y, loss=loss: loss(x, y, targets), inputs, table))


def traced(loss):
    """As `fit` runs it: on TensorFlow as a graph."""
    if keras.backend.backend() != "tensorflow":
        return loss
    import tensorflow as tf

    return tf.function(loss)


def in_chunks(inputs, table, targets):
    return ops.sum(linear_cross_entropy(inputs, table, targets))


def at_once(inputs, table, targets):
    logits = ops.matmul(inputs, ops.transpose(table))
    return ops.sum(keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True))


def bytes_of_a_gradient(loss, *arrays):
    """How far the memory in use rises above what it was."""
    # What was freed goes back to the system, and the mark of the highest level down to the present one.
    ctypes.CDLL(None).malloc_trim(0)
    (PROCESS / "clear_refs").write_text("5")
    before = highest_level()
    value_and_gradient(loss, *arrays)
    return highest_level() - before


def highest_level():
    line = next(line for line in (PROCESS / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
