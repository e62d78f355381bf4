"""A layer's declarations, available before it is built: its weights, its state, and how far back in time it reads."""

import inspect
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from keras import ops

from keras_griffin.layers.base.configured import argument_names
from keras_griffin.layers.base.sequence_layer import SequenceLayer
from keras_griffin.layers.base.weights import StateSpec, Weight, create_weights
from keras_griffin.shapes import State


class Declared(SequenceLayer):
    """A `SequenceLayer` whose class answers questions about an instance from its constructor arguments alone.

    A subclass defines `weights_of` and `state_of`, and `reach_of` if its reach is bounded. Their `width` is D, the
    width of the inputs, and their `arguments` are the constructor's. Building a layer creates the weights that it
    declares; `initializers` gives those that do not start as a `projection` or as Keras's weights do.

    Attributes:
        state_type: a class attribute: the NamedTuple of its state, the parts that `state_of` declares in their order. A
            subclass whose state has parts within parts, or grows, defines `initial_state` itself.
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
        """The weights, by their paths within the layer."""
        raise NotImplementedError(f"weights_of: {cls.__name__} must define it.")

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        """The parts of the state of one row that has read `tokens`, by path, such as `conv.inputs`."""
        raise NotImplementedError(f"state_of: {cls.__name__} must define it.")

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
        """Bytes of the state of one row that has read `tokens`, without marks and counts.

        A number in the compute dtype has `item_bytes`.
        """
        sizes = {None: item_bytes, "float32": 4}
        kept = cls.state_of(width, tokens, **arguments).values()
        return sum(math.prod(part.shape) * sizes[part.dtype] for part in kept if part.dtype in sizes)

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        """The names of the constructor's own arguments."""
        return argument_names(cls)

    @classmethod
    def with_defaults(cls, arguments: dict[str, Any]) -> SimpleNamespace:
        """Constructor arguments as attributes, with the constructor's defaults for those that are not given."""
        bound = inspect.signature(cls).bind(**arguments)
        bound.apply_defaults()
        return SimpleNamespace(**bound.arguments)

    def arguments(self) -> dict[str, Any]:
        """The constructor's own arguments, by name."""
        return {name: getattr(self, name) for name in self.argument_names()}

    def initializers(self) -> dict[str, Callable]:
        """The initializers of declared weights, by path. One that draws takes its seed when it is called."""
        return {}

    def build(self, inputs_shape):
        """Create the declared weights; a sublayer is made and built by the class itself."""
        super().build(inputs_shape)
        self.build_weights(self.width)

    def create_weights(self, width: int) -> Iterator[tuple[str, Any]]:
        """Names and new weights or layers, in the order in which `weights_of` declares them."""
        return create_weights(self, self.weights_of(width, **self.arguments()), self.initializers())

    def build_weights(self, width: int) -> None:
        """Store the declared weights, and the layers that hold them, as the attributes of their names."""
        for name, part in self.create_weights(width):
            if hasattr(type(self), name) or name in self.argument_names():
                raise ValueError(
                    f"{type(self).__name__}: a weight must not have the name of an attribute or argument. Got {name!r}."
                )
            setattr(self, name, part)

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step."""
        self.require_built("initial_state")
        state = {}
        for name, part in self.state_specs(self.width).items():
            state[name] = ops.full((batch_size, *part.shape), part.start, self.dtype_of(part))
        return self.state_type(**state)

    def initial_arrays(self, batch_size: int) -> State:
        """`initial_state` as NumPy arrays, for a layer that is built while it is traced."""
        parts = self.state_specs(self.width).values()
        return self.state_type(*(np.full((batch_size, *part.shape), part.start, self.dtype_of(part)) for part in parts))

    def state_specs(self, width: int) -> dict[str, StateSpec]:
        """`state_of`, with this layer's arguments and inputs of a width."""
        return self.state_of(width, 0, **self.arguments())

    def dtype_of(self, part: StateSpec) -> str:
        """The dtype of a part of the state."""
        return part.dtype or self.compute_dtype
