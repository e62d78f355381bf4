"""The blocks in which a Pallas kernel goes through (B, T, D) on a TPU: their size, and the order in which they come."""

import math
from typing import NamedTuple

from jax import lax
from jax import numpy as jnp
from jax.experimental import pallas as pl

#: Rows that are prepared at once: those of a register of bfloat16.
GROUP = 16
#: How many of them stand one after the other in the compiled loop: all.
UNROLL = GROUP
#: Channels of a register.
LANES = 128
#: What blocks may take of the chip's memory. The compiler allows 16 MiB by default, and needs some for itself.
BLOCK_BYTES = 12 * 2**20
_LONGEST, _WIDEST = 512, 512


class Tile(NamedTuple):
    """Steps and channels of a block."""

    length: int
    width: int


def tile(length: int, width: int, bytes_per_element: int) -> Tile:
    """The largest block that fits, of those that are cut off least at the arrays' ends.

    Args:
        length: T.
        width: D.
        bytes_per_element: of all sequences that go in and out, together. Each block stands in memory twice.

    Returns:
        The block's length, a multiple of 16, and its width, one of 128.
    """
    widths = range(LANES, _WIDEST + 1, LANES)
    channels = min(widths, key=lambda lanes: (math.ceil(width / lanes) * lanes, -lanes))
    room = BLOCK_BYTES // (2 * bytes_per_element * channels) // GROUP * GROUP
    blocks = math.ceil(length / max(GROUP, min(_LONGEST, room)))
    return Tile(math.ceil(length / blocks / GROUP) * GROUP, channels)


class Walk(NamedTuple):
    """The way through arrays of one shape."""

    shape: tuple[int, int, int]
    tile: Tile
    #: From the last step to the first.
    reverse: bool

    @property
    def grid(self) -> tuple[int, int, int]:
        """Blocks of rows of the batch, of channels and of time, the last innermost."""
        batch_size, length, width = self.shape
        return batch_size, math.ceil(width / self.tile.width), math.ceil(length / self.tile.length)

    def block(self, t):
        """The block of time that comes t-th."""
        return self.grid[2] - 1 - t if self.reverse else t

    def sequence(self, width=None):
        """For `(B, T, D)`, or `(B, T, 1)`."""
        if width == 1:
            return pl.BlockSpec((None, self.tile.length, 1), lambda b, d, t: (b, self.block(t), 0))
        return pl.BlockSpec((None, *self.tile), lambda b, d, t: (b, self.block(t), d))

    def state(self):
        """For `(B, 1, D)`: what does not move with time."""
        return pl.BlockSpec((None, 1, self.tile.width), lambda b, d, t: (b, 0, d))

    def channels(self):
        """For `(1, D)`."""
        return pl.BlockSpec((1, self.tile.width), lambda b, d, t: (0, d))

    def beyond(self):
        """For `(B, T, D)`: the group of rows to which the way leads out of a block."""
        groups, last = self.tile.length // GROUP, (self.shape[1] - 1) // GROUP

        def place(b, d, t):
            first = self.block(t) * groups
            return b, jnp.maximum(first - 1, 0) if self.reverse else jnp.minimum(first + groups, last), d

        return pl.BlockSpec((None, GROUP, self.tile.width), place)

    def groups(self, visit):
        """Call `visit(at, steps)` for each group of the present block: its first row there, and its steps."""
        count, block = self.tile.length // GROUP, self.block(pl.program_id(2))

        def body(i, nothing):
            start = pl.multiple_of((count - 1 - i if self.reverse else i) * GROUP, GROUP)
            steps = block * self.tile.length + start + lax.broadcasted_iota(jnp.int32, (GROUP, 1), 0)
            visit(start, steps)
            return nothing

        lax.fori_loop(0, count, body, None)

    def through_rows(self, step, state):
        """What `step(row, state)` makes of a state, one row of a group after the other."""

        def body(i, state):
            return step(pl.ds(GROUP - 1 - i if self.reverse else i, 1), state)

        return lax.fori_loop(0, GROUP, body, state, unroll=UNROLL)

    def inside(self, steps):
        """Which of the steps exist; None where all do."""
        return None if self.shape[1] % self.tile.length == 0 else steps < self.shape[1]
