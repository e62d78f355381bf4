"""Kernels compiled for GPUs that aren't there: exactly as the launching code would launch them."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

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
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


class Launch(NamedTuple):
    """A kernel and what it was to be launched with."""

    kernel: object
    arguments: tuple
    options: dict

    @property
    def name(self) -> str:
        return self.kernel.__name__

    @property
    def marks(self) -> list:
        """Reset and mask."""
        values = dict(zip(self.kernel.arg_names, self.arguments, strict=False))
        return [values["reset"], values["mask"]]


class Compiled(NamedTuple):
    """What the compiler says of a kernel."""

    registers: int
    spills: int
    #: Bytes of memory that each thread has for itself.
    stack: int
    #: In the loop over time, for each row; counted on NVIDIA alone, as is what follows.
    loads: float | None = None
    stores: float | None = None


def recorded_launches(monkeypatch, modules, call, target):
    """The launches that `call` would make on a GPU of 132 multiprocessors.

    Args:
        monkeypatch: pytest's.
        modules: those that use `launch`; the first defines the plan.
        call: makes the launches; the numbers that it gets are whatever stood in memory.
        target: the GPU.
    """
    launches = []

    def launch(kernel, array, plan, pieces, *arguments, **options):
        _, length, width = array.shape
        constants = {**options, "BLOCK": plan.block, "ROWS": plan.rows}
        launches.append(Launch(kernel, (*arguments, length, width, pieces, plan.steps), constants))

    monkeypatch.setattr(modules[0], "chip", lambda device: (132, target.warp_size))
    for module in modules:
        monkeypatch.setattr(module, "launch", launch)
    call()
    return launches


def compile_launch(launch: Launch, target: GPUTarget) -> Compiled:
    """Compile it ahead of time."""
    names = launch.kernel.arg_names
    values = dict(zip(names, launch.arguments, strict=False)) | launch.options
    signature, constants, attributes = {}, {}, {}
    for place, name in enumerate(names):
        signature[name] = _type_of(values[name], (place,), name in launch.options, constants, attributes)
    source = ASTSource(launch.kernel, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(source, target=target, options={"num_warps": 1})
    return _on_amd(compiled) if target.backend == "hip" else _on_nvidia(compiled, launch.options["ROWS"])


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
    usage, assembly = _cuobjdump(compiled.asm["cubin"])
    number = lambda key: int(re.search(rf"{key}:(\d+)", usage)[1])  # noqa: E731
    body = _loop(compiled.asm["ptx"])
    spills = len(re.findall(r"\b(?:STL|LDL)\b", assembly))
    return Compiled(
        number("REG"), spills, number("STACK"), body.count("ld.global") / rows, body.count("st.global") / rows
    )


def _cuobjdump(cubin):
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return [
            subprocess.run([CUOBJDUMP, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("-res-usage", "-sass")
        ]


def _loop(ptx):
    """The text of the kernel's outermost loop: from the label that a later branch goes back to, to that branch."""
    labels = {match[1]: match.start() for match in re.finditer(r"^(\$L__BB\w+):", ptx, re.M)}
    branches = [(labels[match[1]], match.start()) for match in re.finditer(r"bra(?:\.uni)?\s+(\$L__BB\w+);", ptx)]
    start, stop = max((pair for pair in branches if pair[0] < pair[1]), key=lambda pair: pair[1] - pair[0])
    return ptx[start:stop]
