"""How the programs of a Pallas kernel divide (B, T, D) on a GPU: blocks of channels and pieces of time."""

import math
from typing import NamedTuple

import jax
from jax import lax
from jax import numpy as jnp
from jax.experimental import pallas as pl

#: A program's threads: one NVIDIA warp. Each loads four bytes.
THREADS = 32
#: The most rows that a program loads before it uses the first of them; pieces are multiples of it.
ROWS = 8
#: Programs that keep memory busy: eight for each multiprocessor of a large GPU. The multiprocessors can't be counted: a
#: function may be traced without a GPU, or for one that isn't present. Computed, not measured.
PROGRAMS = 1024
#: The fewest steps of a piece.
SHORTEST_PIECE = 64


class Step(NamedTuple):
    """One row of a walk through the arrays."""

    #: How many rows of the whole walk come before it.
    number: jax.Array
    #: Its index in the arrays.
    row: jax.Array
    #: Whether it exists; None if all do.
    exists: jax.Array | None
    #: Which channels of the program exist in it.
    channels: jax.Array


class Walk(NamedTuple):
    """The path of a kernel through arrays of one shape."""

    shape: tuple[int, int, int]
    #: Channels of a program.
    block: int
    #: Pieces of time, all but the last of full length, and their steps.
    pieces: int
    steps: int
    #: Rows loaded before the first of them is used.
    rows: int
    #: From the last step to the first.
    reverse: bool

    @property
    def grid(self) -> tuple[int, int, int]:
        """Blocks of channels, pieces of time and rows of the batch."""
        return math.ceil(self.shape[2] / self.block), self.pieces, self.shape[0]

    def sequence(self):
        """For `(B, T, D)`."""
        return pl.BlockSpec((None, self.shape[1], self.block), lambda d, t, b: (b, 0, d))

    def flags(self):
        """For `(B, T)`."""
        return pl.BlockSpec((None, self.shape[1]), lambda d, t, b: (b, 0))

    def piece(self):
        """For `(B, pieces, D)`."""
        return pl.BlockSpec((None, None, self.block), lambda d, t, b: (b, t, d))

    def state(self):
        """For `(B, D)`."""
        return pl.BlockSpec((None, self.block), lambda d, t, b: (b, d))

    def channels(self):
        """For `(D,)`."""
        return pl.BlockSpec((self.block,), lambda d, t, b: (d,))

    def inside(self):
        """Which channels of the program exist."""
        return pl.program_id(0) * self.block + jnp.arange(self.block, dtype=jnp.int32) < self.shape[2]

    def through(self, visit, carried, from_end=False):
        """Thread `carried` through `visit(steps, carried)`, over the steps of the program's piece, some at a time."""
        length, first, inside = self.shape[1], pl.program_id(1) * self.steps, self.inside()
        turns = math.ceil(self.steps / self.rows)
        all_exist = self.pieces * turns * self.rows <= length

        def step(place):
            number = first + (self.steps - 1 - place if from_end else place)
            exists = None if all_exist else number < length
            row = length - 1 - number if self.reverse else number
            return Step(number, row, exists, inside if all_exist else jnp.logical_and(inside, exists))

        def body(turn, carried):
            return visit([step(turn * self.rows + i) for i in range(self.rows)], carried)

        return lax.fori_loop(0, turns, body, carried)


def steps_of_a_piece(shape: tuple[int, int, int], block: int) -> int:
    """How many steps a program walks: all of them if sequences and channels alone give enough programs.

    Args:
        shape: `(B, T, D)`.
        block: channels of a program.

    Returns:
        T, or a multiple of `ROWS`.
    """
    batch_size, length, width = shape
    programs = max(1, batch_size * math.ceil(width / block))
    # Pieces cost up to three quarters more memory traffic, and a single piece gains nothing.
    pieces = min(PROGRAMS // programs, length // SHORTEST_PIECE)
    return length if pieces < 2 else math.ceil(length / (pieces * ROWS)) * ROWS


def walk_through(array: jax.Array, reverse: bool, rows: int) -> Walk:
    """The path through an array `(B, T, D)` and the arrays alongside it."""
    block = max(1, 4 // array.dtype.itemsize) * THREADS
    steps = steps_of_a_piece(array.shape, block)
    return Walk(array.shape, block, math.ceil(array.shape[1] / steps), steps, min(rows, ROWS), reverse)
