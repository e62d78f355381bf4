"""The machine code of the Triton kernels, followed without a GPU: where a warp waits, and what share of a copy's speed.

    KERAS_BACKEND=torch python -m benchmarks.gpu_schedule

It needs Triton but no GPU; nothing is timed. `tests/ops/gpu_assembly.py` follows a warp through the loop over time,
which gives cycles for a group of rows. The estimate of a call's time is, for each of its kernels, the largest of three:
a program's groups one after another, the instructions of the programs that share a scheduler, and the bytes at the
speed of a copy. A load is assumed to take 800 to 1100 cycles, and the launches of a call 5 us.
"""

import pytest
import torch

from keras_griffin.ops.linear_scan import torch_triton as scans
from keras_griffin.ops.rg_lru import torch_triton as units
from tests.ops.gpu_assembly import cycles, disassemble, follow, loop_over_time
from tests.ops.triton_compilation import TARGETS, program_of, recorded_launches

#: An H100: multiprocessors, the schedulers and registers of each, and cycles and bytes of a copy in a second.
MULTIPROCESSORS, SCHEDULERS, REGISTERS, CLOCK, BANDWIDTH = 132, 4, 65536, 1.7e9, 3.05e12
#: Programs of a multiprocessor, at most, and cycles in which a scheduler issues one special function.
RESIDENT, SPECIAL = 32, 8
LATENCIES, LAUNCHES = (1100, 800), 5e-6
SHAPES = (8, 2048, 2560), (1, 2048, 2560)
#: The calls, and the arrays that each has to move.
ARRAYS = {"linear_scan": 3, "linear_scan gradient": 5, "rg_lru": 4, "rg_lru gradient": 8}


def calls(shape, dtype, has_marks):
    """The calls by name, as functions; the numbers in the arrays don't matter."""
    array, state, channels = torch.empty(shape, dtype=dtype), torch.empty(shape[0], shape[2]), torch.zeros(shape[2])
    marks = [torch.zeros(*shape[:2], 1, dtype=torch.bool) if has_marks else None] * 2
    unit = [array], array, array, channels, None
    return {
        "linear_scan": lambda: scans._linear_scan([array], [array], [state], *marks, False),
        "linear_scan gradient": lambda: scans._gradient([array], [array], [state], *marks, [array, state], False),
        "rg_lru": lambda: units._rg_lru(*unit, [state], *marks, 8.0, False),
        "rg_lru gradient": lambda: units._gradient(*unit, [array], [state], *marks, [array, state], 8.0, False),
    }


def seconds(launch, program, loop, latency):
    """The estimated time of a kernel."""
    turns = -(-launch.steps // launch.rows) + 1
    resident = min(RESIDENT, REGISTERS // (32 * program.registers))
    waves = -(-launch.programs // (MULTIPROCESSORS * resident))
    alone = waves * turns * cycles(loop_over_time(program.instructions), latency)
    sharing = -(-launch.programs // (MULTIPROCESSORS * SCHEDULERS))
    issued = sharing * turns * max(loop.instructions, SPECIAL * loop.special)
    return max(max(alone, issued) / CLOCK, moved(launch, loop) / BANDWIDTH)


def moved(launch, loop):
    """Bytes that a kernel moves."""
    return launch.programs * launch.steps * loop.moved / launch.rows


def percent(shares):
    """Two shares, of the longer latency first."""
    low, high = (f"{100 * min(share, 1.0):.0f}" for share in shares)
    return low if low == high else f"{low} to {high}"


def main():
    """Print the tables."""
    code, speed, seen = [], [], {}
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            for has_marks in (False, True):
                for name, call in calls(shape, dtype, has_marks).items():
                    with pytest.MonkeyPatch.context() as patch:
                        launches = recorded_launches(patch, call, TARGETS["sm90"])
                    title = f"{str(dtype).removeprefix('torch.')} | {'both' if has_marks else 'none'}"
                    programs = [disassemble(program_of(launch, TARGETS["sm90"]).asm["cubin"]) for launch in launches]
                    loops = [follow(loop_over_time(program.instructions)) for program in programs]
                    for launch, program, loop in zip(launches, programs, loops, strict=True):
                        gradient = ", gradient" if launch.options.get("GRADIENT") else ""
                        key = f"{launch.name}{gradient} | {title}"
                        if key not in seen:
                            seen[key] = True
                            times = [cycles(loop_over_time(program.instructions), latency) for latency in LATENCIES]
                            code.append(
                                f"| {key} | {launch.rows} | {program.registers} | {loop.instructions} | "
                                f"{loop.on_the_way} of {loop.loads} | {loop.in_flight} | {loop.stops} | "
                                f"{times[1]:.0f} to {times[0]:.0f} |"
                            )
                            print(code[-1], flush=True)
                    least = ARRAYS[name] * torch.Size(shape).numel() * dtype.itemsize
                    bound = min(1.0, least / sum(map(moved, launches, loops)))
                    shares = []
                    for latency in LATENCIES:
                        time = LAUNCHES + sum(
                            seconds(*each, latency) for each in zip(launches, programs, loops, strict=True)
                        )
                        shares.append(least / BANDWIDTH / time)
                    speed.append(
                        f"| {name} | {title} | {shape} | {launches[-1].programs} | {percent(shares)} | "
                        f"{100 * bound:.0f} | {percent([share / bound for share in shares])} |"
                    )
                    print(speed[-1], flush=True)
    print("\n### The loops over time, for sm_90\n")
    print("| kernel | dtype | marks | rows | registers | instructions | loads in flight | bytes | stops | cycles |")
    print("|---|---|---|---|---|---|---|---|---|---|", *code, sep="\n")
    print("\n### Estimated share of a copy's bandwidth on an H100, in percent\n")
    print("| call | dtype | marks | (B, T, D) | programs | share | bound by pieces | share of the bound |")
    print("|---|---|---|---|---|---|---|---|", *speed, sep="\n")


if __name__ == "__main__":
    main()
