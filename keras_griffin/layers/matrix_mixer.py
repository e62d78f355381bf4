"""Shared by mixers that are `gated_linear_attention` between projections."""

from typing import Any, NamedTuple, Unpack

from keras import ops

from keras_griffin.checks import COUNT
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.base.weights import StateSpec, Weight, dense_weights
from keras_griffin.layers.heads import merge_heads, split_heads
from keras_griffin.layers.projection import project, projected
from keras_griffin.shapes import LayerOptions, Tensor


class MatrixState(NamedTuple):
    """The state of a `MatrixMixer`."""

    #: `(B, N, H, P)`, float32: S after the last step, for each head.
    matrix: Tensor


class Heads(NamedTuple):
    """The number of heads, and the channels of each one's key and value."""

    number: int
    key: int
    value: int


class MatrixMixer(ScaledMixer):
    """Queries read from a matrix for each head, into which keys write values.

        q_t, k_t, v_t = W x_t, each its own, N heads
        y_t = W_out r_t                               "output_projection"
        y_t = W_out (r_t * silu(W_gate x_t))          with a gate

    No projection has a bias. A subclass defines `heads_of`, and what the heads read, r, in `read`.

    Args:
        num_heads: N; see `number_of_heads` for None.

    Attributes:
        gated: a class attribute: whether there is a gate.
    """

    state_type = MatrixState
    gated = True

    def __init__(
        self, num_heads: int | None = None, output_variance_scale: float = 1.0, **kwargs: Unpack[LayerOptions]
    ):
        super().__init__(output_variance_scale, **kwargs)
        self.num_heads = self.checked(COUNT.or_none(), num_heads=num_heads)

    @classmethod
    def heads_of(cls, width: int, num_heads: int | None) -> Heads:
        """The heads of a layer of a width."""
        raise NotImplementedError(f"heads_of: {cls.__name__} must define it.")

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        heads = cls.heads_of(width, cls.with_defaults(arguments).num_heads)
        units = ("num_heads", heads.number)
        keys, values = heads.number * heads.key, heads.number * heads.value
        entering = {"query": keys, "key": keys, "value": values, **({"gate": values} if cls.gated else {})}
        weights: dict[str, Weight] = {}
        for name, channels in entering.items():
            weights |= dense_weights(name, width, channels, 1, units, bias=False)
        return weights | dense_weights("output_projection", values, width, 0, units, bias=False)

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        count, key, value = cls.heads_of(width, cls.with_defaults(arguments).num_heads)
        return {"matrix": StateSpec((count, key, value), "float32")}

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        return 0

    def build(self, inputs_shape):
        self.heads = self.heads_of(inputs_shape[-1], self.num_heads)
        super().build(inputs_shape)

    def read(
        self, inputs: Tensor, query: Tensor, key: Tensor, value: Tensor, matrix: Tensor, **marks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What the heads read, `(B, T, N, P)`, and the last state: of `(B, T, D)`, and three `(B, T, N, ...)`."""
        raise NotImplementedError(f"read: {type(self).__name__} must define it.")

    def advance(
        self, inputs: Tensor, state: MatrixState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, MatrixState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        vectors = projected(inputs, self.query, self.key, self.value)
        query, key, value = (split_heads(x, self.heads.number) for x in vectors)
        read, matrix = self.read(inputs, query, key, value, state.matrix, reset=reset, mask=mask)
        mixed = ops.cast(merge_heads(read), self.compute_dtype)
        mixed = mixed * ops.silu(project(self.gate, inputs)) if self.gated else mixed
        return project(self.output_projection, mixed), MatrixState(matrix)
