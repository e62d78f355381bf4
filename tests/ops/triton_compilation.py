"""Kernels compiled for GPUs that aren't there: exactly as the launching code would launch them."""

import itertools
import re
from typing import NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from keras_griffin.ops.recurrence.kernels import torch_triton_launch
from keras_griffin.ops.recurrence.kernels.triton_passes import OPTIONS
from tests.ops.gpu_assembly import disassemble, follow, loop_over_time

TARGETS = {
    "sm80": GPUTarget("cuda", 80, 32),
    "sm90": GPUTarget("cuda", 90, 32),
    "sm100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
POINTERS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.uint8: "*u8",
}
#: NVIDIA's targets with dtype and marks, on which the walk's machine code depends.
WHOLE = list(itertools.product(("sm80", "sm90", "sm100"), (torch.float32, torch.bfloat16), (False, True)))
#: How often a warp may stop for memory in a group of rows: forward, and for a gradient.
STOPS = 1, 2


class Launch(NamedTuple):
    """A kernel and what it was to be launched with."""

    kernel: object
    arguments: tuple
    options: dict
    #: How many programs, of a warp each.
    programs: int

    @property
    def name(self) -> str:
        return self.kernel.__name__

    @property
    def rows(self) -> int:
        """How many rows a turn of its loop works on."""
        return self.options.get("ROWS", 1)

    @property
    def has_marks(self) -> bool:
        return self.values["marks"] is not None

    @property
    def steps(self) -> int:
        """How many steps each program walks."""
        return min(self.values["steps"], self.values["length"])

    @property
    def values(self) -> dict:
        """Arguments and constants by name."""
        return dict(zip(self.kernel.arg_names, self.arguments, strict=False)) | self.options


class Compiled(NamedTuple):
    """What the compiler says of a kernel."""

    registers: int
    spills: int
    #: Bytes of memory that each thread has for itself.
    stack: int
    #: In the loop over time, for each row; counted on NVIDIA alone, as is what follows.
    loads: float | None = None
    stores: float | None = None
    #: How often a warp stops for memory in a turn of that loop.
    stops: int | None = None


def recorded_launches(monkeypatch, call, target, multiprocessors=132):
    """The launches that `call` would make on a GPU.

    Args:
        monkeypatch: pytest's.
        call: makes the launches; the numbers that it gets are whatever stood in memory.
        target: the GPU.
        multiprocessors: how many it has. With none, every sequence is one piece.
    """
    launches = []

    def launch(kernel, arguments, results, programs, **constants):
        launches.append(Launch(kernel, (*arguments, *results), constants, programs))
        return results

    monkeypatch.setattr(torch_triton_launch, "chip", lambda array: (multiprocessors, target.warp_size))
    monkeypatch.setattr(torch_triton_launch, "launch", launch)
    call()
    return launches


def compile_launch(launch: Launch, target: GPUTarget) -> Compiled:
    """Compile it ahead of time."""
    compiled = program_of(launch, target)
    return _on_amd(compiled) if target.backend == "hip" else _on_nvidia(compiled, launch.rows)


def program_of(launch: Launch, target: GPUTarget):
    """What Triton makes of a launch."""
    values, signature, constants, attributes = launch.values, {}, {}, {}
    for place, name in enumerate(launch.kernel.arg_names):
        is_constant = launch.kernel.params[place].is_constexpr
        signature[name] = _type_of(values[name], (place,), is_constant, constants, attributes)
    source = ASTSource(launch.kernel, signature=signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=target, options=OPTIONS)


def _type_of(value, place, is_constant, constants, attributes):
    """An argument's type; what the compiler is told of it beside that goes into the last two."""
    if isinstance(value, tuple):
        return tuple(_type_of(part, (*place, i), False, constants, attributes) for i, part in enumerate(value))
    # Triton makes constants of ones as well.
    if value is None or is_constant or (isinstance(value, int) and value == 1):
        constants[place] = value
        return "constexpr"
    if isinstance(value, float):
        return "fp32"
    if isinstance(value, torch.Tensor) or value % 16 == 0:
        attributes[place] = [["tt.divisibility", 16]]
    return POINTERS[value.dtype] if isinstance(value, torch.Tensor) else "i32"


def _on_amd(compiled):
    text = compiled.asm["amdgcn"]
    number = lambda key: int(re.search(rf"\.{key}:\s*(\d+)", text)[1])  # noqa: E731
    spills = number("vgpr_spill_count") + number("sgpr_spill_count")
    return Compiled(number("vgpr_count"), spills, number("private_segment_fixed_size"))


def _on_nvidia(compiled, rows):
    program = disassemble(compiled.asm["cubin"])
    loop = follow(loop_over_time(program.instructions))
    return Compiled(program.registers, program.spills, program.stack, loop.loads / rows, loop.stores / rows, loop.stops)
