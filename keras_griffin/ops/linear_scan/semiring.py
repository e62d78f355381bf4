"""The plus and times with which a scan h_t = a_t times h_(t-1) plus x_t computes."""

from collections.abc import Callable
from typing import NamedTuple

from keras_griffin.ops.linear_scan.components import Components, add, multiply


class Semiring(NamedTuple):
    """Operations on components; `plus` and `times` are associative, and `times` distributes over `plus`."""

    plus: Callable[[Components, Components], Components]
    times: Callable[[Components, Components], Components]
    #: The real number that `plus` ignores, a state without a past.
    zero: float
    #: The real number that `times` ignores.
    one: float


#: That of `linear_scan`.
LINEAR = Semiring(add, multiply, 0.0, 1.0)
