"""NVIDIA's machine code of a kernel, and where a warp would stop in its loop over time.

A warp issues its instructions in order. What takes an unknown time, a load above all, is counted on one of six
scoreboards, and a later instruction waits until those that it names are empty. The assembler has written both into the
instruction's control bits, with the cycles before the next may follow, so the loop can be followed without a GPU.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import triton

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
LINE = re.compile(
    r"/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);\s+/\* 0x[0-9a-f]{16} \*/\s+/\* 0x([0-9a-f]{16}) \*/"
)
#: Threads of a warp.
LANES = 32
#: Cycles until a result of unknown latency is there, if it isn't a global load's: mostly special functions.
OTHER_LATENCY = 24
#: Turns of the loop that are followed before one is looked at: by then each is like the one before.
WARM_UP = 3


class Instruction(NamedTuple):
    """An instruction and its control bits."""

    address: int
    name: str
    operands: str
    #: Cycles until the next instruction may be issued.
    stall: int
    #: The scoreboard that counts it until its result is there, and until its operands are read; None for none.
    result: int | None
    reading: int | None
    #: Scoreboards that have to be empty before it.
    waits: tuple[int, ...]

    @property
    def is_load(self) -> bool:
        """Whether it reads global memory into registers."""
        return self.name.startswith("LDG.")

    @property
    def bytes_of_a_thread(self) -> int:
        """What it reads from global memory or writes there; a mark, which all threads share, counts for nothing."""
        if not self.name.startswith(("LDG.", "STG.")):
            return 0
        bits = re.search(r"\.[US]?(8|16|64|128)\b", self.name)
        size = int(bits[1]) // 8 if bits else 4
        return size if size > 1 else 0


class Program(NamedTuple):
    """A kernel's machine code, and what it uses."""

    registers: int
    #: Instructions that move registers to a thread's own memory, or back, and the bytes of that memory.
    spills: int
    stack: int
    instructions: list[Instruction]


class Loop(NamedTuple):
    """What a warp does in one turn of a loop."""

    instructions: int
    #: Of global memory, and the bytes that both move for a warp, without marks.
    loads: int
    stores: int
    moved: int
    #: Those that occupy the units for special functions.
    special: int
    #: Loads that are on their way at once, at most, and the bytes of a warp's loads then.
    on_the_way: int
    in_flight: int
    #: How often the warp stops for a load. A stop lasts until all loads issued before it are there.
    stops: int


def disassemble(cubin: bytes) -> Program:
    """The kernel in a file of machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage, code = (
            subprocess.run([CUOBJDUMP, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("-res-usage", "-sass")
        )
    registers, stack = (int(re.search(rf"{key}:(\d+)", usage)[1]) for key in ("REG", "STACK"))
    instructions = instructions_of(code)
    spills = sum(instruction.name.split(".")[0] in ("STL", "LDL") for instruction in instructions)
    return Program(registers, spills, stack, instructions)


def instructions_of(code: str) -> list[Instruction]:
    """The instructions of a kernel, in their order."""
    found = []
    for address, _, name, operands, control in LINE.findall(code):
        bits = int(control, 16) >> 41
        scoreboards = [(bits >> 5) & 7, (bits >> 8) & 7]
        result, reading = (None if board == 7 else board for board in scoreboards)
        waits = tuple(board for board in range(6) if bits >> 11 + board & 1)
        found.append(Instruction(int(address, 16), name, operands.strip(), bits & 15, result, reading, waits))
    return found


def loop_over_time(instructions: list[Instruction]) -> list[Instruction]:
    """The longest stretch that a branch repeats."""
    loops = []
    for i, instruction in enumerate(instructions):
        target = re.search(r"0x([0-9a-f]+)$", instruction.operands) if instruction.name in ("BRA", "BRA.U") else None
        # A kernel ends with a branch to itself.
        if target and int(target[1], 16) < instruction.address:
            loops.append([x for x in instructions[: i + 1] if x.address >= int(target[1], 16)])
    return max(loops, key=len)


def follow(loop: list[Instruction]) -> Loop:
    """One turn of a loop, after some."""
    pending: list[Instruction] = []
    for _ in range(WARM_UP + 1):
        on_the_way, in_flight, stops = 0, 0, 0
        for instruction in loop:
            if any(load.result in instruction.waits for load in pending):
                stops, pending = stops + 1, []
            if instruction.is_load:
                pending.append(instruction)
            on_the_way = max(on_the_way, len(pending))
            in_flight = max(in_flight, LANES * sum(load.bytes_of_a_thread for load in pending))
    names = [instruction.name for instruction in loop]
    return Loop(
        len(loop),
        sum(instruction.is_load for instruction in loop),
        sum(name.startswith("STG.") for name in names),
        LANES * sum(instruction.bytes_of_a_thread for instruction in loop),
        sum(name.startswith("MUFU.") for name in names),
        on_the_way,
        in_flight,
        stops,
    )


def cycles(loop: list[Instruction], latency: int) -> float:
    """Cycles of a turn for a warp that is alone, where a load takes `latency` of them."""
    clock, free, starts = 0, [0] * 6, []
    for _ in range(2 * WARM_UP + 1):
        starts.append(clock)
        for instruction in loop:
            clock = max([clock, *(free[board] for board in instruction.waits)])
            if instruction.result is not None:
                taken = latency if instruction.is_load else OTHER_LATENCY
                free[instruction.result] = max(free[instruction.result], clock + taken)
            if instruction.reading is not None:
                free[instruction.reading] = max(free[instruction.reading], clock + OTHER_LATENCY)
            clock += max(1, instruction.stall)
    return (clock - starts[WARM_UP]) / (len(starts) - WARM_UP)
