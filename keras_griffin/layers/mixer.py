"""What a mixer says of itself before it is made: its weights, its state, and how far along time it reads."""

import math
from typing import Any, NamedTuple, Self

from keras_griffin.layers.configured import argument_names
from keras_griffin.layers.sequence_layer import SequenceLayer


class Weight(NamedTuple):
    """A weight that a mixer will have."""

    shape: tuple[int, ...]
    #: The axis along which a mesh may split the layer; None where every device computes with all of it.
    split: int | None = None
    #: What that axis consists of and is never cut within, and how many there are: such as `("num_heads", 8)`.
    units: tuple[str, int] | None = None
    #: Whether a mesh that does not divide the units is refused; else the weight stays whole there.
    must_split: bool = True
    #: The other axes along which it may be stored in parts, the first one that can be.
    stored: tuple[int, ...] = ()


class Kept(NamedTuple):
    """A part of a mixer's state, of one row."""

    shape: tuple[int, ...]
    #: None for the compute dtype.
    dtype: str | None = None


def dense_weights(
    path: str, inputs: int, outputs: int, split: int, units: tuple[str, int], bias: bool = True, **kwargs: Any
) -> dict[str, Weight]:
    """The weights of a `projection`, by path.

    Args:
        path: of the projection, within its mixer.
        inputs: the kernel's first axis.
        outputs: its second, and the bias's.
        split: which of them a mesh splits, 0 or 1.
        units: see `Weight`.
        bias: whether there is one.
        **kwargs: of the kernel's `Weight`.
    """
    weights = {f"{path}/kernel": Weight((inputs, outputs), split, units, stored=(1 - split,), **kwargs)}
    if bias:
        weights[f"{path}/bias"] = Weight((outputs,), *((0, units) if split == 1 else ()))
    return weights


class Mixer(SequenceLayer):
    """A `SequenceLayer` that keeps its width and can stand in a `ResidualBlock` of a model.

    What others want to know of it, they ask the class, with the arguments that it would be made with. A subclass gives
    `arguments_for_model`, `weights_of` and `kept_of`, and `reach_of` where that is not everything.

    Attributes:
        undecayed: of a class: the names of its parts whose weights weight decay spares.
        blocks_nan: of a class: whether NaN, where it may not look, leaves no trace; else no finite number does.
    """

    undecayed: tuple[str, ...] = ()
    blocks_nan = True

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        """The constructor's arguments that follow from a `GriffinConfig`."""
        raise NotImplementedError(f"arguments_for_model: {cls.__name__} must define it.")

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        """The weights of a mixer that would be made with some arguments, by their paths within it.

        Args:
            width: D, of its inputs.
            **arguments: the constructor's.
        """
        raise NotImplementedError(f"weights_of: {cls.__name__} must define it.")

    @classmethod
    def kept_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, Kept]:
        """What its state keeps of a row after so many tokens, by the path in the state, such as `conv.inputs`.

        Args:
            width: D, of its inputs.
            tokens: read so far.
            **arguments: the constructor's.
        """
        raise NotImplementedError(f"kept_of: {cls.__name__} must define it.")

    @classmethod
    def reach_of(cls, **arguments: Any) -> int | None:
        """How many steps it looks back, beside what a state of one size carries to it; None for all there are.

        With a number it can be divided along time, if all that it does along time is done by ops of this package. A
        class with another `call` or `advance` says so anew.
        """
        return None

    @classmethod
    def divisible_reach_of(cls, **arguments: Any) -> int | None:
        """`reach_of`, where it is of the class whose `call` and `advance` a mixer has; otherwise None."""
        for kind in cls.__mro__:
            if "reach_of" in vars(kind):
                return cls.reach_of(**arguments)
            if vars(kind).keys() & {"call", "advance"}:
                return None
        return None

    @classmethod
    def for_model(cls, config: Any, **kwargs: Any) -> Self:
        """The mixer that a `GriffinConfig` asks for."""
        return cls(**cls.arguments_for_model(config), **kwargs)

    @classmethod
    def parameter_count(cls, width: int, **arguments: Any) -> int:
        """The number of parameters."""
        return sum(math.prod(weight.shape) for weight in cls.weights_of(width, **arguments).values())

    @classmethod
    def cache_bytes(cls, width: int, tokens: int, item_bytes: int, **arguments: Any) -> int:
        """Bytes of the numbers that are kept of a row after so many tokens; marks and counts are left out.

        Args:
            width: D, of its inputs.
            tokens: read so far.
            item_bytes: of a number in the compute dtype.
            **arguments: the constructor's.
        """
        sizes = {None: item_bytes, "float32": 4}
        kept = cls.kept_of(width, tokens, **arguments).values()
        return sum(math.prod(part.shape) * sizes[part.dtype] for part in kept if part.dtype in sizes)

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        """The names of the constructor's own arguments."""
        return argument_names(cls)
