"""The base of everything that a model can mix along time with."""

from typing import Any

from keras_griffin.layers.base.declared import Declared


class Mixer(Declared):
    """A `SequenceLayer` that preserves the width and can be used in a `ResidualBlock` of a model.

    A subclass defines `arguments_for_model`, `weights_of` and `state_of`, and `reach_of` if its reach is bounded.

    Call arguments:
        inputs: `(B, T, D)`.
        reset: `(B, T)` bool, optional; at a True step everything before it is forgotten.
        mask: `(B, T)` bool, optional; a False step leaves the state unchanged.

    Output shape: `(B, T, D)`.

    Raises:
        ValueError: an argument has a wrong type or value, or does not fit the width or another argument.
    """

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        """The constructor arguments that follow from a `GriffinConfig`."""
        raise NotImplementedError(f"arguments_for_model: {cls.__name__} must define it.")

    @classmethod
    def arguments_of_layer(cls, config: Any, index: int) -> dict[str, Any]:
        """Further arguments, for the residual block of an index: only such as set initial values, not shapes."""
        return {}
