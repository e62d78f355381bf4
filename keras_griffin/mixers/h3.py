"""The H3 layer."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, one_of
from keras_griffin.layers import StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.base.weights import within
from keras_griffin.layers.initializers.state_space_initializer import DIAGONALS, STEP_RANGE
from keras_griffin.layers.units.state_space.diagonal_dynamics import SAMPLINGS, DiagonalDynamics
from keras_griffin.layers.units.state_space.state_space_unit import (
    EVEN,
    readout_initializers,
    readout_weights,
    twice_real,
)
from keras_griffin.ops.causal_conv import causal_conv
from keras_griffin.ops.state_space import state_space
from keras_griffin.shapes import LayerOptions, Tensor


class H3State(NamedTuple):
    """The state of `H3`."""

    #: `(B, shift_size - 1, D)`, compute dtype: the newest keys, oldest first.
    keys: Tensor
    #: `(B, D head_dim, N)`, float32: [Re s; Im s] of each product of a key and a value.
    hidden: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class H3(ScaledMixer):
    """Mix along time as H3 does: a state space that shifts keys, and one that remembers their products with values.

        q_t, k_t, v_t = W x_t + b, each its own
        S_t = SSM(shift(k)_t v_t^T),  for each head, of head_dim channels
        y_t = W_out S_t^T q_t + b_out

    shift is a convolution of free taps, the state space of a shift matrix and what passes beside it. SSM is that of
    `keras_griffin.layers.S4D`, one for each head, on each number of the head's matrix; with one channel a head, the
    products are of elements.

    Args:
        state_size: N, the real numbers of a state, even.
        head_dim: channels of a head; divides D.
        shift_size: taps of the shift.
        initialization: the eigenvalues at the start; see `keras_griffin.layers.S4D`.
        discretization: `"zoh"` or `"bilinear"`.
        step_range: the range of the steps at the start, uniform in their logarithm.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `H3State`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.H3()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Dao et al. 2022 (arXiv 2212.14052), section 3 and algorithm 1. The channels of all heads stand head by
    head; in the authors' code, channel by channel.
    """

    state_type = H3State

    def __init__(
        self,
        state_size: int = 64,
        head_dim: int = 1,
        shift_size: int = 64,
        initialization: str = "lin",
        discretization: str = "zoh",
        step_range: tuple[float, float] = (0.001, 0.1),
        output_variance_scale: float = 1.0,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(output_variance_scale, **kwargs)
        self.state_size = self.checked(EVEN, state_size=state_size)
        self.head_dim = self.checked(COUNT, head_dim=head_dim)
        self.shift_size = self.checked(COUNT, shift_size=shift_size)
        self.initialization = self.checked(one_of(DIAGONALS), initialization=initialization)
        self.discretization = self.checked(one_of(SAMPLINGS), discretization=discretization)
        self.step_range = self.checked(STEP_RANGE, step_range=step_range)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        if width % given.head_dim:
            raise ValueError(f"H3: head_dim must divide the width. Got {given.head_dim} and {width}.")
        heads = width // given.head_dim
        groups, weights = ("heads", heads), dict[str, Weight]()
        for name in ("query", "key", "value", "output_projection"):
            weights |= dense_weights(name, width, width, int(name != "output_projection"), groups)
        return {
            **weights,
            "shift": Weight((given.shift_size, width), 1, groups),
            **readout_weights(heads, given.state_size, groups),
            **within("dynamics", DiagonalDynamics.weights_of(heads, given.state_size, groups)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        hidden = StateSpec((width * given.head_dim, given.state_size), "float32")
        return {"keys": StateSpec((given.shift_size - 1, width)), "hidden": hidden}

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        return cls.with_defaults(arguments).shift_size - 1

    def initializers(self) -> dict[str, Callable]:
        return {**super().initializers(), **readout_initializers(), "shift": self._first_shift}

    def _first_shift(self, shape, dtype=None):
        """Uniform up to 1 / sqrt(taps); for the current key also a normal number, of what passes beside the shift."""
        limit = self.shift_size**-0.5
        taps = keras.initializers.RandomUniform(-limit, limit)(shape, "float32")
        beside = keras.initializers.RandomNormal(stddev=1.0)((1, *shape[1:]), "float32")
        return ops.cast(ops.concatenate([taps[:-1], taps[-1:] + beside], axis=0), dtype)

    def build(self, inputs_shape):
        super().build(inputs_shape)
        options = self.state_size, self.initialization, self.step_range
        self.dynamics = DiagonalDynamics(*options, name="dynamics", dtype="float32")
        self.dynamics.build((None, self.width // self.head_dim))

    def advance(
        self, inputs: Tensor, state: H3State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, H3State]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        query, key, value = (project(layer, inputs) for layer in (self.query, self.key, self.value))
        key, keys = causal_conv(key, ops.cast(self.shift, "float32"), None, state.keys, reset=reset, mask=mask)

        def by_head(x, axis):
            shape = (*ops.shape(x)[:-1], self.width // self.head_dim, self.head_dim)
            return ops.expand_dims(ops.reshape(x, shape), axis)

        products = by_head(key, -1) * by_head(value, -2)
        flat = ops.reshape(products, (*ops.shape(inputs)[:-1], self.width * self.head_dim))
        of_heads = *self.dynamics.sampled(self.discretization), twice_real(self.output_weights)
        arguments = flat, *(ops.repeat(x, self.head_dim**2, axis=0) for x in of_heads), state.hidden
        read, hidden = state_space(*arguments, reset=reset, mask=mask)
        beside = ops.reshape(ops.cast(self.feedthrough, self.compute_dtype), (-1, 1, 1)) * products
        matrices = ops.reshape(read, ops.shape(products)) + beside
        mixed = ops.reshape(ops.sum(by_head(query, -1) * matrices, axis=-2), ops.shape(inputs))
        return project(self.output_projection, mixed), H3State(keys, hidden)
