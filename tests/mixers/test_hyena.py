"""Hyena against its equations in NumPy."""

import numpy as np
import pytest

from keras_griffin.mixers import Hyena
from tests.layers.test_hyena_filter import taps
from tests.layers.units.definitions import WIDTH, built, check_equations

LENGTH = 5


def step(order, features):
    def equations(weights, x, state):
        earlier, read = state
        seen = np.concatenate([earlier, (x @ weights["input_projection/kernel"])[:, None]], axis=1)
        seen[:, -1] += weights["input_projection/bias"]
        *gates, v = np.split((seen * weights["conv/kernel"]).sum(1) + weights["conv/bias"], order + 1, -1)
        of_filter = {path.removeprefix("filter/"): weight for path, weight in weights.items()}
        filters = np.split(taps(of_filter, LENGTH, (order - 1) * WIDTH, features), order - 1, -1)
        skips, histories, kept = np.split(weights["skip"], order - 1), np.split(read, order - 1, -1), []
        for index, gate in enumerate(gates[:0:-1]):
            v = gate * v
            history = np.concatenate([histories[index], v[:, None]], axis=1)
            v = (history * filters[index][::-1]).sum(1) + skips[index] * v
            kept.append(history[:, 1:])
        output = (gates[0] * v) @ weights["output_projection/kernel"] + weights["output_projection/bias"]
        return output, [seen[:, 1:], np.concatenate(kept, -1)]

    return equations


@pytest.mark.parametrize(("order", "features"), [(2, 3), (3, 5)])
def test_equations(order, features):
    layer = Hyena(order, LENGTH, filter_width=7, filter_features=features)
    check_equations(built(layer, 0.3), step(order, features))


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"^Hyena: filter_features must be an odd integer of at least 3\. Got 4\.$"):
        Hyena(filter_features=4)
