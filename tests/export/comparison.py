"""What a program that was written must do: what the model does, wherever it is cut, reset and fed."""

from collections.abc import Callable, Iterable

import keras
import numpy as np

from keras_griffin.export.program import RESET, program_of
from keras_griffin.layers import RGLRU
from keras_griffin.models import Griffin, GriffinConfig, SequenceEncoder
from keras_griffin.testing.compiled import compiled

#: The largest difference from the model's own numbers, which are about 1.
TOLERANCE = 1e-5


def language_model() -> keras.Model:
    """Two recurrent blocks, and local attention whose window the stream leaves behind."""
    return Griffin(GriffinConfig(32, 16, 3, num_heads=2, window=8))


def encoder() -> keras.Model:
    """An encoder of measurements, some of them missing, with a head."""
    inputs = keras.Input((None, 3), name="measurements")
    encoded = SequenceEncoder(8, 2)(keras.layers.Masking()(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, name="forecast")(encoded))


def unit() -> RGLRU:
    """A layer alone."""
    layer = RGLRU(return_sequences=True)
    layer.build((None, None, 6))
    return layer


MODELS = {"language_model": language_model, "encoder": encoder, "unit": unit}


def assert_same_numbers(
    run: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
    model: keras.Model | keras.layers.Layer,
    what: str,
    chunk: int | None = None,
    expected: Callable[..., Iterable[tuple[np.ndarray, float]]] | None = None,
    sizes: Iterable[tuple[int, int]] = ((1, 1), (3, 5), (3, 100)),
) -> None:
    """Compare a program with the model's whole rows: three lengths, two batches, a reset, and 100 steps of state.

    Args:
        run: a call of the program, from its inputs to its outputs, by their names.
        model: what was exported, on any backend.
        what, chunk: as for `export`.
        expected: for the model, its rows, and the step before which the first row is reset, each output and how far
            from it a program's may be: unless given, the model's own and `TOLERANCE`.
        sizes: numbers of rows, and of calls or steps: a chunk has as many calls as it needs.
    """
    if not isinstance(model, keras.Model):
        inputs = keras.Input((None, model.input_spec.axes[-1]), name="inputs")
        model = keras.Model(inputs, model(inputs))
    program = program_of(model, what, chunk)
    size = 1 if what == "sequence" else chunk or 1
    for batch, count in sizes:
        count = -(-count // size) if count > 5 else count
        rows = _rows(model, batch, count * size)
        # In the longest rows: each cut has lengths of its own, which JAX compiles.
        cut = count // 2 if what != "sequence" and count * size > 5 else 0
        found = _called(run, program, rows) if what == "sequence" else _streamed(run, program, rows, cut)
        all_wanted = (expected or _own)(model, rows, cut * size)
        for tensor, name, got, (wanted, bound) in zip(model.outputs, program.outputs, found, all_wanted, strict=True):
            assert got.shape == wanted.shape and got.dtype == tensor.dtype, name
            worst = np.abs(got - wanted).max()
            assert worst <= bound, f"{name} of {batch} rows, {count} calls: {worst}, which is above {bound}"


def _own(model, rows, cut):
    """The model's outputs, and the tolerance."""
    return [(x, TOLERANCE) for x in with_reset(model, rows, cut)]


def _rows(model, batch, steps):
    """Whole rows of each input; some steps of numbers are zero, which `Masking` leaves out."""
    generator, rows = np.random.default_rng(steps), []
    for tensor in model.inputs:
        shape = (batch, *(steps if size is None else size for size in tensor.shape[1:]))
        if "float" in tensor.dtype:
            missing = generator.random(shape[:-1]) < 0.2
            rows.append(np.where(missing[..., None], 0, generator.normal(size=shape)).astype(tensor.dtype))
        else:
            rows.append(generator.integers(0, 2 if tensor.dtype == "bool" else 32, shape).astype(tensor.dtype))
    return rows


def _whole(call, model, rows):
    """The model's outputs."""
    results = call(keras.tree.pack_sequence_as(model.input, rows))
    return [keras.ops.convert_to_numpy(x) for x in keras.tree.flatten(results)]


def with_reset(model, rows, cut):
    """The model's outputs where its first row starts anew after `cut` steps."""
    call = compiled(model)
    if not cut:
        return _whole(call, model, rows)
    before, after = (_whole(call, model, [x[:1, part] for x in rows]) for part in (slice(cut), slice(cut, None)))
    wanted = []
    for first, second, others, tensor in zip(before, after, _whole(call, model, rows), model.outputs, strict=True):
        row = np.concatenate([first, second], 1) if _is_timed(tensor) else second
        wanted.append(np.concatenate([row, others[1:]]))
    return wanted


def _called(run, program, tensors):
    """The outputs of one call, in the order of the names."""
    found = run({port.name: x for port, x in zip(program.ports, tensors, strict=True)})
    assert set(found) == set(program.results)
    return [np.asarray(found[name]) for name in program.results]


def _streamed(run, program, rows, cut):
    """The outputs of the program, call by call; before call `cut` the first row is reset."""
    batch, steps = rows[0].shape[:2]
    size = 1 if program.what == "step" else program.inputs[0].shape[1]
    count = len(program.outputs)
    assert [port.name for port in program.inputs[len(rows) :]] == [RESET]
    state = program.arguments({"batch": batch, "past": 0})[len(program.inputs) :]
    calls = []
    for call in range(steps // size):
        first = call * size
        reset = np.arange(batch) < (call == cut and call > 0)
        if reset.any():
            # What is forgotten may be anything.
            state = [_spoiled(x) for x in state]
        pieces = [x[:, first] if program.what == "step" else x[:, first : first + size] for x in rows]
        results = _called(run, program, [*pieces, reset, *state])
        state = results[count:]
        calls.append(results[:count])
    join = np.stack if program.what == "step" else np.concatenate
    outputs = zip(*calls, strict=True)
    timed = map(_is_timed, program.model.outputs)
    return [join(x, axis=1) if is_timed else x[-1] for x, is_timed in zip(outputs, timed, strict=True)]


def _spoiled(x):
    """A tensor of the state with NaN in the first row, if it can hold it."""
    if "float" not in str(x.dtype):
        return x
    return np.concatenate([np.full_like(x[:1], np.nan), x[1:]])


def _is_timed(tensor):
    """Whether an output has an axis of time."""
    return len(tensor.shape) > 1 and tensor.shape[1] is None
