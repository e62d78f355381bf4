"""Kernels compiled for GPUs that aren't there: exactly as the launching code would launch them."""

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


def forward_and_backward(op_name, parts, dtype, has_marks):
    """Call both operators of an op, on numbers of so many components; for `selective_scan`, on states of so many."""
    from keras_griffin.ops.linear_scan import torch_triton as scans
    from keras_griffin.ops.rg_lru import torch_triton as units
    from keras_griffin.ops.selective_scan import torch_triton as selections

    sequence, state, channels = torch.zeros(2, 1024, 128, dtype=dtype), torch.zeros(2, 128), torch.zeros(128)
    marks = [torch.zeros(2, 1024, 1, dtype=torch.bool) if has_marks else None] * 2
    number, start = [sequence] * parts, [state] * parts
    if op_name == "linear_scan":
        scans._linear_scan(number, number, start, *marks, False)
        scans._gradient(number, number, start, *marks, [*number, *start], False)
    elif op_name == "rg_lru":
        tensors = [*number, sequence, sequence, *[channels] * parts, *start]
        units._rg_lru(tensors, *marks, 8.0, False)
        units._gradient(tensors, number, [*number, *start], *marks, 8.0, False)
    else:
        weights, start = torch.zeros(2, 1024, parts, dtype=dtype), torch.zeros(2, 128, parts)
        tensors = [sequence, sequence, torch.zeros(128, parts), weights, weights, start]
        reset = marks[0][..., 0] if has_marks else None
        selections._selective_scan(tensors, reset)
        selections._gradient(tensors, [torch.zeros(2, 32, parts, 128)], [sequence, start], reset)


def recorded_launches(monkeypatch, call, target, multiprocessors=132):
    """The launches that `call` would make on a GPU; without multiprocessors, every sequence is one piece."""
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
