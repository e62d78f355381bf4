from typing import NamedTuple

import numpy as np
from keras import ops

from keras_griffin.layers.base.stateful_variables import StatefulVariables
from keras_griffin.testing.arrays import as_array


class Inner(NamedTuple):
    hidden: np.ndarray
    started: np.ndarray


class Outer(NamedTuple):
    parts: tuple[Inner, ...]


def test_what_is_written_is_read_until_it_is_reset():
    inner = Inner(ops.zeros((2, 3)), ops.zeros((2,), "bool")), Inner(ops.ones((2, 1)), ops.ones((2,), "bool"))
    kept = StatefulVariables(Outer(inner), name="kept")
    state = kept.read()
    assert isinstance(state, Outer) and isinstance(state.parts[1], Inner)
    kept.write(Outer((Inner(ops.full((2, 3), 5.0), ops.ones((2,), "bool")), state.parts[1])))
    assert np.all(as_array(kept.read().parts[0].hidden) == 5.0) and np.all(as_array(kept.read().parts[0].started))
    kept.reset()
    assert not np.any(as_array(kept.read().parts[0].hidden)) and np.all(as_array(kept.read().parts[1].hidden) == 1.0)
    assert kept.weights == [] and len(kept.variables) == 4
    names = [variable.name for variable in kept.leaves]
    assert names == ["parts_0_hidden", "parts_0_started", "parts_1_hidden", "parts_1_started"]
