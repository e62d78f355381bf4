"""What a kernel in C++ gains on a CPU, and what any kernel could: a training step of Hawk, and the RG-LRU's op alone.

    KERAS_BACKEND=torch taskset -c 0 python benchmarks/native_kernel.py

The model is that of `model.py` without attention and with 16 blocks in the gates: 4.9 M parameters, 4 rows of 512
tokens in float32. Its step runs with the package's `rg_lru`, and with a stand-in that costs next to nothing, which is
the bound for any kernel; on PyTorch also with `native_kernel.cpp`, if there is `g++`. The steps alternate. On one core
the clock is the process's CPU time, which other programs change less than wall time; on several it is wall time, and
nothing else should run.
"""

import ctypes
import dataclasses
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from cores import usable_cores
from model import CONFIG, TOKENS
from timing import BACKEND, compiled, copy_bandwidth, forward_and_backward, wait

from keras_griffin.models import Hawk
from keras_griffin.ops import rg_lru
from keras_griffin.ops.implementation import find_op
from keras_griffin.ops.rg_lru import reference
from keras_griffin.ops.rg_lru.unit import Unit

SHAPE = (*TOKENS[:, 1:].shape, CONFIG.recurrence_width)
OP = find_op("rg_lru")
CHOOSE = OP.choose
CLOCK = time.process_time if usable_cores() == 1 else time.perf_counter
#: Steps of each kind, and calls of the op. The processor slows down at times; the least of many shows when it doesn't.
STEPS, CALLS = 15, 60
#: Not -ffast-math, which would change how the whole process treats subnormal numbers.
FLAGS = "-O3 -march=native -mprefer-vector-width=512 -fno-math-errno -fno-trapping-math -fopenmp -shared -fPIC".split()


def use(implementation):
    """Let `implementation` serve every call of the op; None for the package's own."""
    OP.choose = CHOOSE if implementation is None else lambda *facts: implementation


def sum_of_all(unit, initial_state, marks, exponent, reverse):
    """The stand-in for XLA, which fuses it with its neighbours."""
    (x,), i, r, decay_parameter = unit.inputs, *unit[1:4]
    states = x + 0.5 * i + 0.25 * r + decay_parameter
    return (states,), (states[:, -1],)


def on_torch():
    """By name, the stand-in of PyTorch, which computes nothing, and the kernel in C++."""
    import torch

    library = compiled_library()

    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, i, r, decay_parameter, start, exponent):
            ctx.save_for_backward(decay_parameter)
            return x.view_as(x), start.view_as(start)

        @staticmethod
        def backward(ctx, into_states, into_final):
            return *[into_states] * 3, torch.zeros_like(ctx.saved_tensors[0]), into_final, None

    class Native(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, i, r, decay_parameter, start, exponent):
            log_decay = torch.nn.functional.softplus(-decay_parameter) * -exponent
            arrays = [t.contiguous() for t in (x, i, r, log_decay, start)]
            states = torch.empty_like(arrays[0])
            ctx.exponent = exponent
            ctx.save_for_backward(*arrays, states, decay_parameter)
            # Keras asks for shapes with tensors that have no memory.
            if x.device.type == "cpu":
                run(library.forward, *arrays, states)
            return states, states[:, -1].clone()

        @staticmethod
        def backward(ctx, into_states, into_final):
            *kept, decay_parameter = ctx.saved_tensors
            x, start = kept[0], kept[4]
            results = [torch.empty_like(t) for t in (x, x, x, start, start)]
            run(library.backward, *kept, into_states.contiguous(), into_final.contiguous(), *results)
            *sequences, into_log_decay, into_start = results
            into_decay_parameter = into_log_decay.sum(0) * torch.sigmoid(-decay_parameter) * ctx.exponent
            return *sequences, into_decay_parameter, into_start, None

    def run(function, *arrays):
        sizes = (*arrays[0].shape, torch.get_num_threads())
        function(*(ctypes.c_void_p(t.data_ptr()) for t in arrays), *map(ctypes.c_int64, sizes))

    def implementation(function):
        def of_unit(unit, initial_state, marks, exponent, reverse):
            states, final_state = function.apply(unit.inputs[0], *unit[1:4], initial_state[0], exponent)
            return (states,), (final_state,)

        return of_unit

    native = {"C++": implementation(Native)} if library else {}
    return {**native, "nothing": implementation(Nothing)}


def compiled_library():
    """The kernel for this processor; None without a compiler."""
    if shutil.which("g++") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "native_kernel.so"
        subprocess.check_call(["g++", *FLAGS, Path(__file__).with_suffix(".cpp"), "-o", target])
        return ctypes.CDLL(target)


def least(functions, count):
    """The least seconds of each function by name, in turns."""
    seconds = dict.fromkeys(functions, np.inf)
    for _ in range(count):
        for name, function in functions.items():
            start = CLOCK()
            wait(function())
            seconds[name] = min(seconds[name], CLOCK() - start)
    return seconds


def under(implementation, function):
    """The function as it runs with an implementation."""

    def run():
        use(implementation)
        return function()

    return run


def step_of(implementation):
    """A training step of a model that was traced with an implementation."""
    use(implementation)
    keras.utils.set_random_seed(0)
    model = Hawk(dataclasses.replace(CONFIG, num_gate_blocks=16))
    model.compile(keras.optimizers.SGD(1e-3), model.loss, jit_compile=BACKEND != "torch")
    step = under(implementation, lambda: model.train_on_batch(TOKENS[:, :-1], TOKENS[:, 1:]))
    step()
    return step


def calls_of(implementation, gradient, arguments):
    """Forward, and forward with the gradients."""

    def states(*arguments):
        return rg_lru(*arguments)[0]

    forward, both = compiled(states), compiled(forward_and_backward(states))
    calls = (
        under(implementation, lambda: forward(*arguments)),
        under(implementation, lambda: both(gradient, *arguments)),
    )
    for call in calls:
        wait(call())
    return calls


def error(implementation, gradient, arguments):
    """The largest difference of states and gradients from float64, relative to the largest number of each array."""
    _, both = calls_of(implementation, gradient, arguments)
    states, gradients = both()
    *exact, weights = (keras.ops.convert_to_numpy(t).astype("float64") for t in (*arguments, gradient))
    unit, start = Unit(*exact, None), np.zeros(SHAPE[::2])
    into, _ = reference.rg_lru_gradient(unit, start, 8.0, (weights, np.zeros(SHAPE[::2])))
    wanted = [reference.definition(unit, start, 8.0)[0], *into[:4]]
    pairs = zip(wanted, map(keras.ops.convert_to_numpy, (states, *gradients)), strict=True)
    return max(np.abs(x - y).max() / np.abs(x).max() for x, y in pairs)


def main():
    """Print the tables of the active backend."""
    ways = {"the package": None, **(on_torch() if BACKEND == "torch" else {"nothing": sum_of_all})}
    generator = np.random.default_rng(0)
    *tensors, decay_parameter = (*generator.normal(size=(4, *SHAPE)), generator.normal(3.0, 0.5, SHAPE[2]))
    gradient, *arguments = (keras.ops.convert_to_tensor(x.astype("float32")) for x in (*tensors, decay_parameter))
    calls = {name: calls_of(way, gradient, arguments) for name, way in ways.items()}
    forward, both = (least({name: each[k] for name, each in calls.items()}, CALLS) for k in range(2))
    array = 4 * int(np.prod(SHAPE))
    bandwidth = copy_bandwidth(array)
    print(f"\n### A native kernel on {BACKEND}\n")
    print(f"| rg_lru, {SHAPE} | forward ms | both ms | largest error |\n|---|---|---|---|")
    for name in ways:
        wrong = "" if name == "nothing" else f"{error(ways[name], gradient, arguments):.0e}"
        print(f"| {name} | {1e3 * forward[name]:.2f} | {1e3 * both[name]:.2f} | {wrong} |")
    floor = [1e3 * arrays * array / bandwidth for arrays in (4, 12)]
    print(f"| its memory traffic alone | {floor[0]:.2f} | {floor[1]:.2f} | |", flush=True)

    steps = least({name: step_of(way) for name, way in ways.items()}, STEPS)
    print("\n| training step with | ms | less than the package |\n|---|---|---|")
    for name, seconds in steps.items():
        gain = 1 - seconds / steps["the package"]
        print(f"| {name} | {1e3 * seconds:.0f} | {100 * gain:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
