"""Every implementation of every op that this machine can run, against the bandwidth of a copy, and beside peers.

    KERAS_BACKEND=jax python benchmarks/kernels.py

`linear_scan` moves three arrays forward and eight with its gradient, `rg_lru` four and twelve: that over the time, as a
share of the bandwidth of `a = b + c` in the same run, is what the tables call a share. A share above one means that a
cache helped. A peer is measured where its package can be imported.
"""

import importlib
import importlib.util
import time

import keras
import numpy as np
from timing import BACKEND, compiled, device_bandwidth, forward_and_backward, least_seconds, peak_bytes, wait

from keras_griffin.ops import explain, linear_scan, local_attention, rg_lru, use_implementation
from keras_griffin.ops.block_product import block_product
from keras_griffin.ops.implementation import current_facts

ON_CPU = current_facts(None, "float32").device == "cpu"
SHAPES = [(1, 2048, 2560), (8, 512, 768)] if ON_CPU else [(1, 2048, 2560), (8, 4096, 4096)]
DTYPES = ("float32", "bfloat16")
#: Arrays that are moved, forward and with the gradient, by the sequences that go in.
MOVED = {"linear_scan": (3, 8), "rg_lru": (4, 12)}
#: Rows, queries and keys, query heads, channels of a head, window; one key head.
ATTENTION = (1, 4096, 10, 256, 1024)
#: Seconds for the repetitions of one row.
BUDGET = 1.0


def tensors(op, shape, dtype):
    """The arguments of an op, and a gradient for its outputs."""
    draw = np.random.default_rng(0)
    batch_size, length, width = shape
    if op == "linear_scan":
        arrays = [draw.uniform(0.9, 0.999, shape), draw.normal(size=shape)]
    else:
        arrays = [*draw.normal(size=(3, *shape)), draw.normal(5.0, 1.0, width)]
    dtypes = [dtype] * (len(arrays) - (op == "rg_lru")) + ["float32"] * (op == "rg_lru")
    arguments = [keras.ops.convert_to_tensor(x.astype("float32"), t) for x, t in zip(arrays, dtypes, strict=True)]
    return arguments, keras.ops.convert_to_tensor(draw.normal(size=shape).astype("float32"), dtype)


def first_call(function, *arguments):
    """Seconds of a call that compiles."""
    start = time.perf_counter()
    wait(function(*arguments))
    return time.perf_counter() - start


def measured(function, arguments, gradient):
    """First call, forward, and forward and backward in seconds, and the peak of the latter beside its arguments."""
    forward, both = compiled(function), compiled(forward_and_backward(function))
    compilation = first_call(both, gradient, *arguments)
    times = [
        least_seconds(forward, *arguments, budget=BUDGET),
        least_seconds(both, gradient, *arguments, budget=BUDGET),
    ]
    return compilation, *times, peak_bytes(both, gradient, *arguments)


def implementations(op, shape, dtype):
    """Those that can serve such a call and that may be differentiated."""
    verdicts = explain(op, shape, dtype).verdicts
    return [verdict.name for verdict in verdicts if verdict.available and verdict.name != "reference"]


def rows(op, shape, dtype):
    """The implementations of `linear_scan` or `rg_lru`, and the peers."""
    arguments, gradient = tensors(op, shape, dtype)
    ours = {"linear_scan": linear_scan, "rg_lru": rg_lru}[op]
    for name in implementations(op, shape, dtype):
        with use_implementation(op, name):
            yield name, measured(lambda *x: ours(*x)[0], arguments, gradient)
    for name, function in PEERS.get((op, BACKEND), {}).items():
        package = name.partition(" ")[0]
        if importlib.util.find_spec(package) is not None:
            yield name, measured(function(shape), arguments, gradient)


def of_recurrentgemma(shape):
    """DeepMind's scan on JAX, as its models choose it."""
    from recurrentgemma.jax import scan

    return lambda decay, inputs: scan.linear_scan(x=inputs, a=decay)[0]


def of_transformers(shape):
    """The scan of transformers' RecurrentGemma, a loop in Python, behind its gates."""
    from transformers import RecurrentGemmaConfig
    from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru

    width = shape[2]
    unit = RecurrentGemmaRglru(RecurrentGemmaConfig(lru_width=width, num_attention_heads=1, hidden_size=width))

    def scan(decay, inputs):
        import torch

        reset = torch.zeros((*decay.shape[:2], 1), dtype=torch.bool)
        return unit._rnn_scan(inputs, decay, reset, None)[0]

    return scan


def of_accelerated_scan(shape):
    """Its reference on a CPU, its kernel for warps on a GPU; channels before time, which is not counted."""
    module = importlib.import_module(f"accelerated_scan.{'ref' if ON_CPU else 'warp'}")

    def function(decay, inputs):
        return module.scan(*(x.transpose(1, 2).contiguous() for x in (decay, inputs))).transpose(1, 2)

    return function


def of_flash_linear_attention(shape):
    """HGRN's fused scan, of a logarithm of the decay."""
    from fla.ops.hgrn import fused_recurrent_hgrn

    return lambda decay, inputs: fused_recurrent_hgrn(inputs, decay.log())[0]


#: By op and backend; the first word of a name is the package.
PEERS = {
    ("linear_scan", "jax"): {"recurrentgemma": of_recurrentgemma},
    ("linear_scan", "torch"): {
        "transformers _rnn_scan": of_transformers,
        "accelerated_scan": of_accelerated_scan,
        **({} if ON_CPU else {"fla HGRN": of_flash_linear_attention}),
    },
}


def layer_rows():
    """The whole RGLRU with its gradient: one op against gates and scan apart, in turns."""
    from keras_griffin.layers import RGLRU

    for shape in SHAPES:
        inputs = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))
        ways = {}
        for name in (explain("rg_lru", shape).chosen, "portable"):
            with use_implementation("rg_lru", name):
                ways[name] = with_weights(RGLRU(num_blocks=16, return_sequences=True), inputs)
                first_call(ways[name], inputs)
        seconds = dict.fromkeys(ways, np.inf)
        # In turns, and several calls each time: a way runs fastest in the memory that it has just let go of.
        for name in list(ways) * 4:
            with use_implementation("rg_lru", name):
                seconds[name] = min(seconds[name], *(first_call(ways[name], inputs) for _ in range(6)))
        yield shape, seconds


def with_weights(layer, inputs):
    """The layer's outputs, and their gradients for its inputs and its weights."""
    layer.build(inputs.shape)
    weights = [variable.value for variable in layer.trainable_variables]
    if BACKEND != "jax":
        return of_variables(layer)

    def outputs(x, *weights):
        return layer.stateless_call(list(weights), [], x)[0]

    both = compiled(forward_and_backward(outputs))
    return lambda x: both(x, x, *weights)


def of_variables(layer):
    """The same where variables are differentiated in place."""
    if BACKEND == "torch":
        import torch

        parameters = [variable.value for variable in layer.trainable_variables]

        def step(x):
            x = x.detach().requires_grad_()
            outputs = layer(x)
            return outputs, torch.autograd.grad(outputs, [x, *parameters], x.detach())

        return step

    import tensorflow as tf

    def on_tape(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
        variables = [variable.value for variable in layer.trainable_variables]
        return outputs, tape.gradient(outputs, [x, *variables], output_gradients=x)

    return tf.function(on_tape, jit_compile=True)


def attention_rows():
    """The implementations of `local_attention`."""
    batch_size, length, num_heads, channels, window = ATTENTION
    draw = np.random.default_rng(0)
    for dtype in DTYPES[:1] if ON_CPU else DTYPES:
        arguments = [
            keras.ops.convert_to_tensor(
                draw.normal(size=(batch_size, length, heads, channels)).astype("float32"), dtype
            )
            for heads in (num_heads, 1, 1)
        ]
        for name in implementations("local_attention", tuple(arguments[0].shape), dtype):
            with use_implementation("local_attention", name):
                results = measured(lambda *x: local_attention(*x, window), arguments, arguments[0])
            yield dtype, name, results


def block_product_rows():
    """The implementations of `block_product`, for one gate of 16 blocks."""
    draw = np.random.default_rng(0)
    for batch_size, length, width in SHAPES:
        rows, block = batch_size * length, width // 16
        shapes = (rows, width), (16, block, block), (16, block), (rows, width)
        *arguments, gradient = (
            keras.ops.convert_to_tensor(draw.normal(size=shape).astype("float32")) for shape in shapes
        )
        for name in implementations("block_product", (rows, width), "float32"):
            with use_implementation("block_product", name):
                yield (rows, width), name, measured(block_product, arguments, gradient)


def main():
    """Print the tables of the active backend."""
    print(f"\n### Kernels on {BACKEND}")
    for op, (forward_arrays, all_arrays) in MOVED.items():
        columns = "dtype | implementation | first call s | forward ms | both ms | forward share | both share | MB"
        print(f"\n| {op} | {columns} |\n|---|---|---|---|---|---|---|---|---|")
        for shape in SHAPES:
            for dtype in DTYPES:
                array = int(np.prod(shape)) * (4 if dtype == "float32" else 2)
                bandwidth = device_bandwidth(array)
                for name, (compilation, forward, both, peak) in rows(op, shape, dtype):
                    shares = (n * array / (t * bandwidth) for n, t in ((forward_arrays, forward), (all_arrays, both)))
                    times = f"{compilation:.2f} | {1e3 * forward:.2f} | {1e3 * both:.2f}"
                    print(f"| {shape} | {dtype} | {name} | {times} | {cells(shares)} | {megabytes(peak)} |", flush=True)
    print(
        "\n| local_attention | implementation | first call s | forward ms | both ms | MB |\n|---|---|---|---|---|---|"
    )
    for dtype, name, (compilation, forward, both, peak) in attention_rows():
        times = f"{compilation:.2f} | {1e3 * forward:.0f} | {1e3 * both:.0f}"
        print(f"| {ATTENTION} {dtype} | {name} | {times} | {megabytes(peak)} |", flush=True)
    print("\n| block_product | implementation | first call s | forward ms | both ms | MB |\n|---|---|---|---|---|---|")
    for shape, name, (compilation, forward, both, peak) in block_product_rows():
        times = f"{compilation:.2f} | {1e3 * forward:.1f} | {1e3 * both:.1f}"
        print(f"| {shape} float32 | {name} | {times} | {megabytes(peak)} |", flush=True)
    print("\n| RGLRU with all its gradients, float32 | ms | gates and scan apart, ms | ratio |\n|---|---|---|---|")
    for shape, seconds in layer_rows():
        name, apart = seconds
        ratio = seconds[apart] / seconds[name]
        print(f"| {shape} | {name} {1e3 * seconds[name]:.1f} | {1e3 * seconds[apart]:.1f} | {ratio:.2f} |", flush=True)


def cells(numbers):
    """Shares, in a row of a table."""
    return " | ".join(f"{number:.2f}" for number in numbers)


def megabytes(peak):
    """A peak that may not be known."""
    return "not measured" if peak is None else f"{peak / 2**20:.0f}"


if __name__ == "__main__":
    main()
