"""The systems of `state_space`, diagonal and dense: what a chunk of steps needs of one, and how it carries states."""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from keras_griffin.ops.chunked.loop import over_chunks
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import Tensor


class Chunk(NamedTuple):
    """What S steps of a system read and write at once."""

    kernel: Tensor  # c A^i b, `(D, S)`
    reading: Tensor  # c A^(i+1), `(D, N, S)`
    writing: Tensor  # A^(S-1-i) b, `(D, S, N)`


class DiagonalSystem(NamedTuple):
    """A multiplies the pairs of numbers n and n + N / 2, as complex ones, by exp(a_n + i a_{n + N / 2})."""

    input_weights: Tensor  # b, `(D, N)`
    output_weights: Tensor  # c, `(D, N)`
    rates: Tensor  # a, `(D, N)`

    def chunk(self, size: int) -> Chunk:
        """For chunks of `size` steps."""
        steps = ops.arange(size, dtype=self.rates.dtype)
        c, d = _halves(ops.expand_dims(self.output_weights, -1), 1)
        p, q = self.powers(steps + 1.0)
        reading = ops.concatenate([c * p + d * q, d * p - c * q], axis=1)
        b = ops.expand_dims(self.input_weights, -1)
        writing = _turned(b, self.powers(float(size - 1) - steps), 1)
        return _chunk(self, reading, ops.swapaxes(writing, 1, 2))

    def multiplied(self) -> Callable[[Tensor], Tensor]:
        """The function A h of `h (B, D, N)`."""
        powers = [part[..., 0] for part in self.powers(ops.ones(1, self.rates.dtype))]
        return lambda states: _turned(states, powers, 2)

    def carried(self, states: Tensor, steps: Tensor, most: int) -> Tensor:
        """A^steps h for `states (B, D, N)` and `steps (B, 1)` int32, below `most`."""
        powers = self.powers(ops.cast(steps[:, 0], states.dtype))
        return _turned(states, [ops.transpose(part, (2, 0, 1)) for part in powers], 2)

    def after_chunks(self, size: int, entering: Tensor, start: Tensor, forgets: Tensor | None) -> Tensor:
        """The states after M chunks, `(B, M, D, N)`, from what enters in each; `forgets (B, M)` where it forgets."""
        batch_size, chunks, width, numbers = ops.shape(entering)
        pairs = width * numbers // 2
        # One scan of all pairs.
        entering = [ops.reshape(x, (batch_size, chunks, pairs)) for x in _halves(entering, 3)]
        start = [ops.reshape(x, (batch_size, pairs)) for x in _halves(start, 2)]
        powers = self.powers(ops.full((1,), size, self.rates.dtype))
        decay = [ops.broadcast_to(ops.reshape(x, (pairs,)), (batch_size, chunks, pairs)) for x in powers]
        states, _ = linear_scan(tuple(decay), tuple(entering), tuple(start), reset=forgets)
        states = [ops.reshape(x, (batch_size, chunks, width, numbers // 2)) for x in states]
        return ops.concatenate(states, axis=-1)

    def powers(self, exponents):
        """Real and imaginary parts of A^e, `(D, N / 2, S)`, for `e (S,)` up to 64."""
        size, phase = _halves(ops.expand_dims(self.rates, -1), 1)
        # The products of a phase of few bits are exact; those of the whole phase would be rounded to 1e-5 radians.
        coarse = ops.stop_gradient(ops.round(phase * 2048.0) / 2048.0)
        angle, rest = coarse * exponents, (phase - coarse) * exponents
        a, b, c, d = ops.cos(angle), ops.sin(angle), ops.cos(rest), ops.sin(rest)
        absolute = ops.exp(size * exponents)
        return absolute * (a * c - b * d), absolute * (a * d + b * c)


class DenseSystem(NamedTuple):
    """A is any matrix for each channel.

    Its powers are kept less the identity, so that rounding is relative to what a slow system changes.
    """

    input_weights: Tensor  # b, `(D, N)`
    output_weights: Tensor  # c, `(D, N)`
    transition: Tensor  # A, `(D, N, N)`

    def chunk(self, size: int) -> Chunk:
        """For chunks of `size` steps, a power of two, by doubling."""
        power = self._excess(1)
        reading = self.output_weights[:, None] @ power + self.output_weights[:, None]
        writing = self.input_weights[:, None]
        for _ in range(size.bit_length() - 1):
            reading = ops.concatenate([reading, reading + reading @ power], axis=1)
            writing = ops.concatenate([writing + writing @ ops.swapaxes(power, 1, 2), writing], axis=1)
            power = _doubled(power)
        return _chunk(self, ops.swapaxes(reading, 1, 2), writing)

    def multiplied(self) -> Callable[[Tensor], Tensor]:
        """The function A h of `h (B, D, N)`."""
        excess = self._excess(1)
        return lambda states: states + _applied(excess, states)

    def carried(self, states: Tensor, steps: Tensor, most: int) -> Tensor:
        """A^steps h for `states (B, D, N)` and `steps (B, 1)` int32, below `most`, a power of two."""
        power, bit = self._excess(1), 1
        while bit < most:
            has_bit = ops.expand_dims(steps // bit % 2 == 1, -1)
            states = ops.where(has_bit, states + _applied(power, states), states)
            power, bit = _doubled(power), 2 * bit
        return states

    def after_chunks(self, size: int, entering: Tensor, start: Tensor, forgets: Tensor | None) -> Tensor:
        """The states after M chunks, `(B, M, D, N)`, from what enters in each; `forgets (B, M)` where it forgets."""
        entering = ops.transpose(entering, (1, 0, 2, 3))
        forgets = ops.zeros_like(entering[:, :, 0, 0]) if forgets is None else ops.transpose(forgets)
        sequences = entering, ops.cast(forgets, entering.dtype)
        _, _, (states,) = over_chunks(_next, start, sequences, (self._excess(size),))
        return ops.transpose(states, (1, 0, 2, 3))

    def _excess(self, exponent):
        """A^exponent - 1, for a power of two."""
        power = self.transition - ops.eye(self.transition.shape[-1], dtype=self.transition.dtype)
        for _ in range(exponent.bit_length() - 1):
            power = _doubled(power)
        return power


def _doubled(power):
    """A^2 - 1 from A - 1."""
    return 2.0 * power + power @ power


def _next(state, entering, forgets, power):
    """The state after a chunk, for `over_chunks`."""
    state = ops.where(forgets[:, None, None] > 0.0, 0.0, state)
    after = state + (_applied(power, state) + entering)
    return after, (after,)


def _applied(power, states):
    """A h for `power (D, N, N)` and `states (B, D, N)`."""
    return ops.swapaxes(ops.swapaxes(states, 0, 1) @ ops.swapaxes(power, 1, 2), 0, 1)


System = DiagonalSystem | DenseSystem


def _chunk(system, reading, writing):
    """With the kernel c b, c A b .."""
    first = ops.sum(system.output_weights * system.input_weights, axis=1, keepdims=True)
    later = ops.sum(reading[..., :-1] * ops.expand_dims(system.input_weights, -1), axis=1)
    return Chunk(ops.concatenate([first, later], axis=1), reading, writing)


def _halves(x, axis):
    """The first and the second half of an axis."""
    half = x.shape[axis] // 2
    index = (slice(None),) * axis
    return x[(*index, slice(half))], x[(*index, slice(half, None))]


def _turned(x, powers, axis):
    """The pairs of numbers along an axis, times complex numbers."""
    (a, b), (p, q) = _halves(x, axis), powers
    return ops.concatenate([p * a - q * b, q * a + p * b], axis=axis)
