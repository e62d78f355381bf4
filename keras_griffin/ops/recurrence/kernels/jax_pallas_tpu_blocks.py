"""Block sizes and grid order of the Pallas kernels for TPUs."""

import math
from typing import NamedTuple

from jax import lax
from jax import numpy as jnp
from jax.experimental import pallas as pl

#: Rows prepared at once: those of a bfloat16 register.
GROUP = 16
#: How many of them the compiled loop unrolls: all.
UNROLL = GROUP
#: Channels of a register.
LANES = 128
#: On-chip memory for blocks. The compiler allows 16 MiB by default and needs some itself.
BLOCK_BYTES = 12 * 2**20
_LONGEST, _WIDEST = 512, 512


class Tile(NamedTuple):
    """Steps and channels of a block."""

    length: int
    width: int


def tile(length: int, width: int, bytes_per_element: int) -> Tile:
    """The largest block that fits, among those that waste least at the arrays' ends; in multiples of 16 and of 128.

    `bytes_per_element` are of all input and output sequences together. Each block is in memory twice.
    """
    channels = lanes_of(width, _WIDEST)
    room = BLOCK_BYTES // (2 * bytes_per_element * channels) // GROUP * GROUP
    return Tile(steps_of(length, min(_LONGEST, room)), channels)


def lanes_of(width: int, widest: int) -> int:
    """The channels of a block, a multiple of 128, of which the fewest are wasted."""
    return min(range(LANES, widest + 1, LANES), key=lambda lanes: (math.ceil(width / lanes) * lanes, -lanes))


def steps_of(length: int, longest: int) -> int:
    """The steps of a block, a multiple of 16, at most `longest` or 16."""
    blocks = math.ceil(length / max(GROUP, longest))
    return math.ceil(length / blocks / GROUP) * GROUP


class Walk(NamedTuple):
    """The path of a kernel through arrays of one shape."""

    shape: tuple[int, int, int]
    tile: Tile
    #: From the last step to the first.
    reverse: bool

    @property
    def grid(self) -> tuple[int, int, int]:
        """The grid: rows of the batch, blocks of channels, and blocks of time, innermost."""
        batch_size, length, width = self.shape
        return batch_size, math.ceil(width / self.tile.width), math.ceil(length / self.tile.length)

    def block(self, t):
        """The index of the t-th block of time."""
        return self.grid[2] - 1 - t if self.reverse else t

    def sequence(self, width=None):
        """For `(B, T, D)`, or `(B, T, width)` where every block of channels reads all."""
        if width is not None:
            return pl.BlockSpec((None, self.tile.length, width), lambda b, d, t: (b, self.block(t), 0))
        return pl.BlockSpec((None, *self.tile), lambda b, d, t: (b, self.block(t), d))

    def state(self, numbers=1):
        """For `(B, numbers, D)`: constant in time."""
        return pl.BlockSpec((None, numbers, self.tile.width), lambda b, d, t: (b, 0, d))

    def channels(self, numbers=1):
        """For `(numbers, D)`."""
        return pl.BlockSpec((numbers, self.tile.width), lambda b, d, t: (0, d))

    def beyond(self):
        """For `(B, T, D)`: the group of rows that follows a block on the path."""
        groups, last = self.tile.length // GROUP, (self.shape[1] - 1) // GROUP

        def place(b, d, t):
            first = self.block(t) * groups
            return b, jnp.maximum(first - 1, 0) if self.reverse else jnp.minimum(first + groups, last), d

        return pl.BlockSpec((None, GROUP, self.tile.width), place)

    def groups(self, visit):
        """Call `visit(at, steps)` for each group of the current block: its first row in the block, and its steps."""
        count, block = self.tile.length // GROUP, self.block(pl.program_id(2))

        def body(i, nothing):
            start = pl.multiple_of((count - 1 - i if self.reverse else i) * GROUP, GROUP)
            steps = block * self.tile.length + start + lax.broadcasted_iota(jnp.int32, (GROUP, 1), 0)
            visit(start, steps)
            return nothing

        lax.fori_loop(0, count, body, None)

    def through_rows(self, step, state):
        """Thread a state through `step(row, state)`, over the rows of a group."""

        def body(i, state):
            return step(pl.ds(GROUP - 1 - i if self.reverse else i, 1), state)

        return lax.fori_loop(0, GROUP, body, state, unroll=UNROLL)

    def inside(self, steps):
        """Which of the steps exist; None if all do."""
        return None if self.shape[1] % self.tile.length == 0 else steps < self.shape[1]
