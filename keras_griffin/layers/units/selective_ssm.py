"""The selective state space model of Mamba."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT
from keras_griffin.layers.base.weights import StateSpec, Weight, dense_weights
from keras_griffin.layers.initializers.state_space_initializer import STEP_RANGE, LogRates, inverse_softplus_of_steps
from keras_griffin.layers.projection import project
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit
from keras_griffin.ops.selective_scan import selective_scan
from keras_griffin.shapes import RecurrentOptions, State, Tensor

#: The kernels of `torch.nn.Linear`: uniform, with a variance of this over the fan-in.
UNIFORM = 1.0 / 3.0


class SelectiveSSMState(NamedTuple):
    """The state of `SelectiveSSM`."""

    #: `(B, D, N)`, float32: h after the last step.
    hidden: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class SelectiveSSM(RecurrentUnit):
    """The selective state space model (S6), whose step, input and output weights depend on the input.

        [d_t; b_t; c_t] = W_x x_t                                     R + N + N
        s_t = softplus(W_s d_t + b_s)                                 step, one for each channel
        h_t = exp(s_t A) h_{t-1} + s_t x_t b_t^T,  A = -exp(log A)    N numbers for each channel
        y_t = h_t c_t + D * x_t

    `Mamba` is this between two projections, after a convolution, with a gate. The recurrence is in float32.

    Args:
        state_size: N.
        rank: R, of the map from x to the steps; None for D / 16, rounded up.
        step_range: the range of the steps at the start, uniform in their logarithm.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `SelectiveSSMState`, h.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.SelectiveSSM()(np.ones((2, 10, 32), "float32")).shape)
        (2, 32)

    Reference: Gu and Dao 2023 (arXiv 2312.00752), algorithm 2; initial values of its authors' code.
    """

    state_type = SelectiveSSMState
    repeats_outputs = False

    def __init__(
        self,
        *,
        state_size: int = 16,
        rank: int | None = None,
        step_range: tuple[float, float] = (0.001, 0.1),
        **kwargs: Unpack[RecurrentOptions],
    ):
        super().__init__(**kwargs)
        self.state_size = self.checked(COUNT, state_size=state_size)
        self.rank = self.checked(COUNT.or_none(), rank=rank)
        self.step_range = self.checked(STEP_RANGE, step_range=step_range)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        groups, rank = ("width", width), given.rank or default_rank(width)
        return {
            **dense_weights("selection", width, rank + 2 * given.state_size, 0, groups, bias=False),
            **dense_weights("step", rank, width, 1, groups),
            "dynamics/log_rates": Weight((width, given.state_size), 0, groups),
            "feedthrough": Weight((width,), 0, groups),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        return {"hidden": StateSpec((width, cls.with_defaults(arguments).state_size), "float32")}

    def initializers(self) -> dict[str, Callable]:
        """The authors'. For R inputs, kernels are uniform up to R^-1/2."""
        uniform = keras.initializers.VarianceScaling(UNIFORM, "fan_in", "uniform")
        return {
            "selection/kernel": uniform,
            "step/kernel": uniform,
            "step/bias": inverse_softplus_of_steps(*self.step_range),
            "feedthrough": keras.initializers.Ones(),
        }

    def build_weights(self, width: int) -> None:
        super().build_weights(width)
        self.dynamics = LogRates(self.state_size, name="dynamics", dtype="float32")
        self.dynamics.build((None, width))

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        selected = project(self.selection, inputs)
        size, rank = self.state_size, selected.shape[-1] - 2 * self.state_size
        # Slices: on PyTorch, Keras's split at given places reads values, which a recorded step must not do.
        low_rank, of_input, of_output = selected[..., :rank], selected[..., rank:-size], selected[..., -size:]
        steps = ops.softplus(ops.cast(project(self.step, low_rank), "float32"))
        arguments = inputs, steps, self.dynamics.rates(), of_input, of_output, state.hidden
        outputs, hidden = selective_scan(*arguments, reset=reset, mask=mask)
        outputs = outputs + ops.cast(self.feedthrough, self.compute_dtype) * inputs
        return outputs, SelectiveSSMState(hidden)


def default_rank(width: int) -> int:
    """The default of R: the width over 16, rounded up."""
    return math.ceil(width / 16)
