"""The Mamba block."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.layers import Mixer, SelectiveSSM, StateSpec, TemporalConv1D, Weight, dense_weights, project
from keras_griffin.layers.base.initialization import scaled
from keras_griffin.layers.base.weights import within
from keras_griffin.layers.temporal_conv import TemporalConvState
from keras_griffin.layers.units.selective_ssm import UNIFORM, SelectiveSSMState, default_rank
from keras_griffin.shapes import LayerOptions, Tensor


class MambaState(NamedTuple):
    """The state of `Mamba`."""

    #: `(B, taps - 1, E)`, compute dtype: the newest inputs of the convolution, oldest first.
    inputs: Tensor
    #: `(B, E, N)`, float32: h after the last step.
    hidden: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class Mamba(Mixer):
    """Mix along time and channels with a selective state space model.

        u = silu(conv(W_in x)),  z = W_gate x            E channels each
        y = W_out (SSM(u) * silu(z))

    SSM is `keras_griffin.layers.SelectiveSSM`. Mamba's models have no MLP: `mlp_width=0`.

    Args:
        state_size: N, the numbers of a channel's state.
        expand: E / D.
        conv_kernel_size: taps of the convolution.
        rank: R, of the map to the steps; None for D / 16, rounded up.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `MambaState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.Mamba()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Gu and Dao 2023 (arXiv 2312.00752), section 3.4, figure 3; initial values of its authors' code.
    """

    state_type = MambaState

    def __init__(
        self,
        state_size: int = 16,
        expand: int = 2,
        conv_kernel_size: int = 4,
        rank: int | None = None,
        output_variance_scale: float = UNIFORM,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**kwargs)
        self.state_size = self.checked(COUNT, state_size=state_size)
        self.expand = self.checked(COUNT, expand=expand)
        self.conv_kernel_size = self.checked(COUNT, conv_kernel_size=conv_kernel_size)
        self.rank = self.checked(COUNT.or_none(), rank=rank)
        self.output_variance_scale = self.checked(POSITIVE, output_variance_scale=output_variance_scale)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        """The scale of the last kernel: for one residual branch in each layer, or two with an MLP."""
        return {"output_variance_scale": UNIFORM / (config.num_layers * (2 if config.mlp_width else 1))}

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        inner, rank = given.expand * width, given.rank or default_rank(width)
        groups = ("inner_width", inner)
        of_ssm = SelectiveSSM.weights_of(inner, state_size=given.state_size, rank=rank)
        return {
            **dense_weights("input_projection", width, inner, 1, groups, bias=False),
            **dense_weights("gate", width, inner, 1, groups, bias=False),
            **dense_weights("output_projection", inner, width, 0, groups, bias=False),
            "conv/kernel": Weight((given.conv_kernel_size, inner), 1, groups),
            "conv/bias": Weight((inner,), 0, groups),
            **within("ssm", {path: weight._replace(units=groups) for path, weight in of_ssm.items()}),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        inner = given.expand * width
        return {
            "inputs": StateSpec((given.conv_kernel_size - 1, inner)),
            "hidden": StateSpec((inner, given.state_size), "float32"),
        }

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        return cls.with_defaults(arguments).conv_kernel_size - 1

    def initializers(self) -> dict[str, Callable]:
        scales = {"input_projection": UNIFORM, "gate": UNIFORM, "output_projection": self.output_variance_scale}
        return {f"{name}/kernel": scaled(scale, "uniform") for name, scale in scales.items()}

    def build(self, inputs_shape):
        super().build(inputs_shape)
        self.conv = TemporalConv1D(self.conv_kernel_size, name="conv", dtype=self.dtype_policy)
        sizes = {"state_size": self.state_size, "rank": self.rank or default_rank(self.width)}
        self.ssm = SelectiveSSM(**sizes, return_sequences=True, name="ssm", dtype=self.dtype_policy)
        for layer in (self.conv, self.ssm):
            layer.build((None, None, self.expand * self.width))

    def advance(
        self, inputs: Tensor, state: MambaState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, MambaState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        gate, entering = ops.silu(project(self.gate, inputs)), project(self.input_projection, inputs)
        mixed, conv = self.conv.advance(entering, TemporalConvState(state.inputs), reset=reset, mask=mask)
        mixed, ssm = self.ssm.advance(ops.silu(mixed), SelectiveSSMState(state.hidden), reset=reset, mask=mask)
        return project(self.output_projection, mixed * gate), MambaState(conv.inputs, ssm.hidden)
