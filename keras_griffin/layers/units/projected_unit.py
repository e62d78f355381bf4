"""The base of the units whose gates are projections of the inputs, to any width."""

from collections.abc import Iterable
from typing import Any, Unpack

from keras_griffin.checks import COUNT
from keras_griffin.layers.base.weights import Weight, dense_weights
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit
from keras_griffin.shapes import RecurrentOptions


class ProjectedUnit(RecurrentUnit):
    """A recurrent unit with `units`, as an LSTM has them.

    Args:
        units: R, the width of the outputs; None for the width of the inputs.
        **kwargs: the options of `RecurrentUnit`.

    Attributes:
        projections_of_inputs: a class attribute: the names of the projections of the inputs.
    """

    projections_of_inputs: tuple[str, ...] = ()

    def __init__(self, units: int | None = None, **kwargs: Unpack[RecurrentOptions]):
        super().__init__(**kwargs)
        self.units = self.checked(COUNT.or_none(), units=units)

    @classmethod
    def weights_of(cls, width: int, *, units: int | None = None, **others: Any) -> dict[str, Weight]:
        return projections(cls.projections_of_inputs, width, units or width)


def projections(names: Iterable[str], inputs: int, outputs: int) -> dict[str, Weight]:
    """The weights of several projections with biases, between the same widths."""
    return {path: weight for name in names for path, weight in dense_weights(name, inputs, outputs).items()}
