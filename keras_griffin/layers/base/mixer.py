"""The base of everything that a model can mix along time with."""

from typing import Any

from keras_griffin.layers.base.declared import Declared


class Mixer(Declared):
    """A `SequenceLayer` that preserves the width and can be used in a `ResidualBlock` of a model.

    The class answers questions about an instance from its constructor arguments alone. A subclass defines
    `arguments_for_model`, `weights_of` and `state_of`, and `reach_of` if its reach is bounded.

    Attributes:
        undecayed: a class attribute: the names of the parts whose weights are excluded from weight decay.
        blocks_nan: a class attribute: whether even NaN at steps that it may not see has no effect; if False, only
            finite numbers have none.
    """

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        """The constructor arguments that follow from a `GriffinConfig`."""
        raise NotImplementedError(f"arguments_for_model: {cls.__name__} must define it.")

    @classmethod
    def arguments_of_layer(cls, config: Any, index: int) -> dict[str, Any]:
        """Further arguments, for the residual block of an index: only such as set initial values, not shapes."""
        return {}
