"""Milliseconds of a decoding step for a residual block of RecurrentGemma 2B: float32, bfloat16, int8 and Keras's int8.

    KERAS_BACKEND=torch python benchmarks/int8_decoding.py [MIXERS]

The step is that of `generate` at batch 1, over several blocks, whose weights no cache holds. MIXERS are `recurrent` and
`local_mqa`, separated by commas (default: both). Then come forms of one product, that of the MLP, over matrices that
take turns, beside a read of the int8 matrix by one core.
"""

import importlib
import sys
import time

import keras
import numpy as np
from timing import BACKEND, compiled, wait

from keras_griffin.backends import active
from keras_griffin.layers.initialization import without_initialization
from keras_griffin.models import Griffin, presets
from keras_griffin.ops.row_product import row_product

projection = importlib.import_module("keras_griffin.layers.projection")
#: Blocks of a model, whose int8 weights take 237 MB.
BLOCKS = 3
KINDS = ("float32", "bfloat16", "int8", "Keras's int8")
#: Steps of a run, and runs of each, of which the shortest counts.
TOKENS, RUNS = 8, 4
#: The widths of the MLP's product, and how many matrices take turns: 236 MB in int8.
D, U, MATRICES = 2560, 7680, 12


def main(mixers="recurrent,local_mqa"):
    """Print the tables of the active backend."""
    print(f"\n### A block in a decoding step on {BACKEND}\n\n| mixer | weights | ms |\n|---|---|---|")
    for mixer in mixers.split(","):
        for kind, seconds in least({kind: step(mixer, kind) for kind in KINDS}).items():
            print(f"| {mixer} | {kind} | {1e3 * seconds / BLOCKS / TOKENS:.2f} |", flush=True)
    print(f"\n### One row by a matrix ({D}, {U}) on {BACKEND}\n\n| product | ms |\n|---|---|")
    for name, seconds in least(products()).items():
        print(f"| {name} | {1e3 * seconds / MATRICES:.2f} |", flush=True)


def step(mixer, kind):
    """A function that runs `TOKENS` steps."""
    config = presets()["recurrentgemma_2b"].replace(vocabulary_size=256, num_layers=BLOCKS, block_pattern=(mixer,))
    with without_initialization():
        model = Griffin(config, dtype="float32" if kind == "float32" else "bfloat16")
    if "int8" in kind:
        model.quantize("int8")
    ours = projection._is_ours
    if kind == "Keras's int8":
        projection._is_ours = lambda layer: False
    # PyTorch records a step at the second call.
    _, state = model.generate(np.ones((1, 1), "int32"), 8, return_state=True)

    def run():
        model.generate(np.zeros((1, 0), "int32"), TOKENS, state=state)

    run()
    projection._is_ours = ours
    return run


def least(functions):
    """By name: the seconds of the shortest run of each. They take turns."""
    times = {name: [] for name in functions}
    for _ in range(RUNS):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: min(seconds) for name, seconds in times.items()}


def products():
    """By name: functions that multiply a row by all matrices, one after another."""
    generator = np.random.default_rng(0)
    matrices = [generator.integers(-127, 128, (D, U), "int8") for _ in range(MATRICES)]
    row = keras.ops.convert_to_tensor(generator.integers(-127, 128, (1, D), "int8"))
    int8 = [keras.ops.convert_to_tensor(matrix) for matrix in matrices]
    bfloat16 = [keras.ops.cast(matrix, "bfloat16") for matrix in int8]

    def over(matrices, function, row=row):
        product = compiled(function)

        def run():
            for matrix in matrices:
                wait(product(row, matrix))

        run()
        return run

    found = {
        "bfloat16, ours": over(bfloat16, row_product, keras.ops.cast(row, "bfloat16")),
        "Keras's int8": over(int8, keras.ops.matmul),
        "int8": over(int8, active().int8_product),
        "a read of the int8 matrix, by NumPy": lambda: [matrix.view("int64").sum() for matrix in matrices],
    }
    if BACKEND == "torch":
        import torch

        columns = [matrix.t().contiguous() for matrix in int8]
        packed = [torch.ops.onednn.qlinear_prepack(column, [1, D]) for column in columns]
        ones, zeros = torch.ones(U), torch.zeros(U, dtype=torch.int64)
        linear, single = torch.ops.onednn.qlinear_pointwise, keras.ops.cast(row, "bfloat16")
        rest = (ones, zeros, None, 1.0, 0, torch.float32, "none", [], "")
        found |= {
            "int8, stored by column": over([column.t() for column in columns], active().int8_product),
            "bfloat16 stored by column": over(
                [x.t().contiguous() for x in bfloat16], torch.nn.functional.linear, single
            ),
            "bfloat16 by int8, `_weight_int8pack_mm`": over(
                columns, lambda x, w: torch._weight_int8pack_mm(x, w, ones.bfloat16()), single
            ),
            "int8 packed by oneDNN": over(packed, lambda x, w: linear(x, 1.0, 0, w, *rest)),
        }
    if BACKEND == "jax":
        import jax.numpy as jnp

        def summed(x, w):
            return jnp.sum(x.astype("float32") * w.astype("float32"), 1)

        columns = [jnp.asarray(np.ascontiguousarray(matrix.T)) for matrix in matrices]
        found["float32 by int8 stored by column, a sum"] = over(columns, summed)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
