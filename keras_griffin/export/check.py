"""Whether a model is a stream: whether its steps or chunks give what a whole row gives."""

import keras
import numpy as np

from keras_griffin.export.program import Program, is_timed, packed


def check_stream(program: Program, size: int) -> None:
    """Refuse a model of which a row of three calls, of `size` steps, differs from the whole row.

    Raises:
        ValueError: an output differs.
    """
    model, is_step = program.model, program.what == "step"
    generator = np.random.default_rng(0)
    rows = [_drawn(generator, tensor, 3 * size) for tensor in model.inputs]
    state = program.arguments({"batch": 1, "past": 0})[len(program.inputs) :]
    marks = [np.zeros(1, "bool")] * (len(program.inputs) - len(rows))
    found = []
    for start in range(0, 3 * size, size):
        part = start if is_step else slice(start, start + size)
        pieces = [row[:, part] if is_timed(x) else row for row, x in zip(rows, model.inputs, strict=True)]
        results = program.function(*map(keras.ops.convert_to_tensor, [*pieces, *marks, *state]))
        found.append([keras.ops.convert_to_numpy(x) for x in results[: len(program.outputs)]])
        state = list(results[len(program.outputs) :])
    join = np.stack if is_step else np.concatenate
    whole = keras.tree.flatten(model(packed(model, rows)))
    for name, wanted, x, parts in zip(program.outputs, whole, model.outputs, zip(*found, strict=True), strict=True):
        wanted, got = keras.ops.convert_to_numpy(wanted), join(parts, axis=1) if is_timed(x) else parts[-1]
        if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"export: a {program.what} must give what the whole row gives, so no layer but the temporal ones of "
                f"keras_griffin may read other steps; what='sequence' exports such a model. "
                f"Got other numbers in {name!r}."
            )


def _drawn(generator, tensor, steps):
    """A row of an input."""
    shape = [1, *(steps if size is None else size for size in tensor.shape[1:])]
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "float" in dtype:
        return generator.normal(size=shape).astype(dtype)
    return np.zeros(shape, dtype) if dtype == "bool" else generator.integers(0, 2, shape).astype(dtype)
