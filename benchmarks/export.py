"""Models that were exported to ONNX, run by onnxruntime, beside the same models here: a step, and a row of 1,000 steps.

    KERAS_BACKEND=torch taskset -c 0 python benchmarks/export.py [--models encoder,griffin,mamba] [--small]

One row, one thread, random weights, in float32. A step continues a state: onnxruntime's through Python, with arrays of
NumPy in and out. Ours is compiled as in `generate` and `encoder.step`; eager is the exported function itself, operation
by operation. A row is one call from the initial state: ours is compiled on JAX and TensorFlow, and eager on PyTorch.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import keras
import numpy as np
import onnxruntime
from keras import ops
from timing import BACKEND, compiled, least_seconds

from keras_griffin.export import export
from keras_griffin.export.program import program_of
from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.models import Griffin, GriffinConfig, SequenceEncoder


def encoder(width):
    """A model of 8 numbers a step, and what has its state."""
    inputs = keras.Input((None, 8), name="inputs")
    layer = SequenceEncoder(width, num_layers=2)
    return keras.Model(inputs, layer(inputs)), layer


def language_model(width, pattern, **options):
    """A model of tokens, which has its state itself."""
    model = Griffin(GriffinConfig(1024, width, 3, num_heads=4, window=64, block_pattern=pattern, **options))
    return model, model


MODELS = {
    "encoder": lambda small: encoder(16 if small else 64),
    "griffin": lambda small: language_model(16 if small else 256, ("recurrent", "recurrent", "local_mqa")),
    "mamba": lambda small: language_model(16 if small else 256, ("mamba",), mlp_width=0),
}


def drawn(model, length):
    """A row for the model."""
    generator = np.random.default_rng(0)
    if model.inputs[0].ndim == 2:
        return generator.integers(0, 1024, (1, length)).astype("int32")
    return generator.normal(size=(1, length, 8)).astype("float32")


def steps(model, layer, budget):
    """Seconds of a step: ours, eager, and onnxruntime's."""
    program, session = program_of(model, "step"), exported(model, "step")
    token, *rest = program.arguments({"batch": 1, "past": 0})
    advance, state = prepared(continued, layer, is_step=True), layer.initial_state(1)
    inputs = ops.convert_to_tensor(token[:, None])

    def ours():
        nonlocal state
        state, outputs = advance(state, inputs)
        return outputs

    tensors = [ops.convert_to_tensor(array) for array in (token, *rest)]
    names = [port.name for port in program.ports]
    feeds = dict(zip(names, (token, *rest), strict=True))
    past = [port.name for port in program.past]

    def theirs():
        output, *present = session.run(None, feeds)
        feeds.update(zip(past, present, strict=True))
        return output

    eager = least_seconds(program.function, *tensors, budget=budget) if BACKEND == "torch" else None
    return least_seconds(ours, budget=budget), eager, least_seconds(theirs, budget=budget)


def continued(layer, state, inputs):
    """A function of the model, as those of the generation loop."""
    outputs, state = layer.advance(inputs, state)
    return state, outputs


def rows(model, length, budget):
    """Seconds of a row: ours, and onnxruntime's, or why there are none."""
    row = drawn(model, length)
    ours = least_seconds(compiled(model), ops.convert_to_tensor(row), budget=budget)
    try:
        session = exported(model, "sequence")
    except ValueError as error:
        return ours, None, str(error)
    return ours, None, least_seconds(lambda: session.run(None, {session.get_inputs()[0].name: row}), budget=budget)


def exported(model, what):
    """The model in onnxruntime, with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(model, path, what=what)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    """Print the table of the active backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="separated by commas (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the program")
    arguments = parser.parse_args()
    length, budget = (50, 0.1) if arguments.small else (1000, 4.0)
    without_gradients = contextlib.nullcontext()
    if BACKEND == "torch":
        import torch

        torch.set_num_threads(1)
        without_gradients = torch.no_grad()
    print(f"\n### Exported models beside {BACKEND}\n")
    print(f"| model | what | ours on {BACKEND}, ms | eager, ms | onnxruntime, ms |\n|---|---|---|---|---|")
    for name in arguments.models.split(","):
        model, layer = MODELS[name](arguments.small)
        with without_gradients:
            results = {"step": steps(model, layer, budget), f"row of {length:,}": rows(model, length, budget)}
        for what, seconds in results.items():
            cells = [f"{1e3 * each:.3f}" if isinstance(each, float) else each or "" for each in seconds]
            print(f"| {name} | {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
