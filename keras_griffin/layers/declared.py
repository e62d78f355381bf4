"""A layer's declarations, available before it is built: its weights, its state, and how far back in time it reads."""

import math
from typing import Any, NamedTuple

from keras_griffin.layers.configured import argument_names
from keras_griffin.layers.sequence_layer import SequenceLayer


class Weight(NamedTuple):
    """A weight that a layer will have."""

    shape: tuple[int, ...]
    #: The axis along which a mesh may split the layer; None if every device computes with all of it.
    split: int | None = None
    #: The indivisible units of that axis and their number, such as `("num_heads", 8)`.
    units: tuple[str, int] | None = None
    #: Whether a mesh that does not divide the units is refused; if not, the weight is not split there.
    must_split: bool = True
    #: The other axes along which it may be sharded in storage: the first one that can be.
    stored: tuple[int, ...] = ()


class Kept(NamedTuple):
    """A part of a layer's state, for one row."""

    shape: tuple[int, ...]
    #: None for the compute dtype.
    dtype: str | None = None
    #: Its value before the first step.
    start: float = 0.0


def dense_weights(
    path: str, inputs: int, outputs: int, split: int, units: tuple[str, int], bias: bool = True, **kwargs: Any
) -> dict[str, Weight]:
    """The weights of a `projection`, by path.

    Args:
        path: the projection's path within its layer.
        inputs: the size of the kernel's first axis.
        outputs: the size of its second axis and of the bias.
        split: which of the axes a mesh splits, 0 or 1.
        units: see `Weight`.
        bias: whether there is a bias.
        **kwargs: for the kernel's `Weight`.
    """
    weights = {f"{path}/kernel": Weight((inputs, outputs), split, units, stored=(1 - split,), **kwargs)}
    if bias:
        weights[f"{path}/bias"] = Weight((outputs,), *((0, units) if split == 1 else ()))
    return weights


class Declared(SequenceLayer):
    """A `SequenceLayer` whose class answers questions about an instance from its constructor arguments alone.

    A subclass defines `weights_of` and `kept_of`, and `reach_of` if its reach is bounded.

    Attributes:
        state_type: a class attribute: the NamedTuple that its state is.
        undecayed: a class attribute: the names of the parts whose weights are excluded from weight decay.
        dynamics_weights: a class attribute: the names of a recurrent unit's weights that set how its state evolves; see
            `keras_griffin.training.optimizer_groups`.
        blocks_nan: a class attribute: whether even NaN at steps that it may not see has no effect; if False, only
            finite numbers have none.
    """

    state_type: type
    undecayed: tuple[str, ...] = ()
    dynamics_weights: tuple[str, ...] = ()
    blocks_nan = True

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        """The weights of a layer with given constructor arguments, by their paths within it.

        Args:
            width: D, the width of its inputs.
            **arguments: the constructor's.
        """
        raise NotImplementedError(f"weights_of: {cls.__name__} must define it.")

    @classmethod
    def kept_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, Kept]:
        """The parts of its state for one row after a number of tokens, by path, such as `conv.inputs`.

        Args:
            width: D, the width of its inputs.
            tokens: the number read so far.
            **arguments: the constructor's.
        """
        raise NotImplementedError(f"kept_of: {cls.__name__} must define it.")

    @classmethod
    def reach_of(cls, **arguments: Any) -> int | None:
        """How many steps it looks back, apart from its fixed-size state; None for all steps.

        With a number it can be divided along time, provided that it works along time only through ops of this package.
        A class that overrides `call` or `advance` must declare it again.
        """
        return None

    @classmethod
    def divisible_reach_of(cls, **arguments: Any) -> int | None:
        """`reach_of`, if no subclass of its class has overridden `call` or `advance`; otherwise None."""
        for kind in cls.__mro__:
            if "reach_of" in vars(kind):
                return cls.reach_of(**arguments)
            if vars(kind).keys() & {"call", "advance"}:
                return None
        return None

    @classmethod
    def parameter_count(cls, width: int, **arguments: Any) -> int:
        """The number of parameters."""
        return sum(math.prod(weight.shape) for weight in cls.weights_of(width, **arguments).values())

    @classmethod
    def cache_bytes(cls, width: int, tokens: int, item_bytes: int, **arguments: Any) -> int:
        """Bytes of the cached numbers of a row after a number of tokens; marks and counts are excluded.

        Args:
            width: D, the width of its inputs.
            tokens: the number read so far.
            item_bytes: the size of a number in the compute dtype.
            **arguments: the constructor's.
        """
        sizes = {None: item_bytes, "float32": 4}
        kept = cls.kept_of(width, tokens, **arguments).values()
        return sum(math.prod(part.shape) * sizes[part.dtype] for part in kept if part.dtype in sizes)

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        """The names of the constructor's own arguments."""
        return argument_names(cls)
