import numpy as np
import pytest
from keras import ops

from experiments.models.variants import GatedUpdate, gru, lru, mamba, rg_lru
from keras_griffin.inspection import plot_gate_behaviour

DECAY = 0.9
#: The factors in float64, as equation 7 has them.
UPDATES = {
    "RG-LRU": (rg_lru(DECAY), lambda r: DECAY ** (8 * r), lambda r: np.sqrt(1 - DECAY ** (16 * r))),
    "GRU": (gru(), lambda r: 1 - r, lambda r: r),
    "Mamba": (mamba(DECAY), lambda r: (1 - r) ** DECAY, lambda r: (1 - (1 - r) ** DECAY) / DECAY),
    "LRU": (lru(DECAY), lambda r: np.full_like(r, DECAY), lambda r: np.full_like(r, np.sqrt(1 - DECAY**2))),
}


@pytest.mark.parametrize("name", UPDATES)
def test_the_layer_is_equation_7(name):
    update, alpha, beta = UPDATES[name]
    x = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    layer = GatedUpdate(*update)
    found = ops.convert_to_numpy(layer(x))
    kernel, bias = (np.asarray(ops.convert_to_numpy(weight), "float64") for weight in layer.gate.weights)
    gate = 1 / (1 + np.exp(-(x.astype("float64") @ kernel + bias)))
    state, expected = np.zeros((2, 3)), []
    for step in range(9):
        state = alpha(gate[:, step]) * state + beta(gate[:, step]) * x[:, step]
        expected.append(state)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", UPDATES)
def test_the_factors_are_those_of_figure_7(name):
    lines = {line.get_label(): line for line in plot_gate_behaviour(DECAY).get_lines()}
    gate, past = lines[f"{name}: the past"].get_data()
    for function, drawn in zip(UPDATES[name][0], (past, lines[f"{name}: the input"].get_ydata()), strict=True):
        found = ops.convert_to_numpy(function(ops.convert_to_tensor(gate.astype("float32"))))
        np.testing.assert_allclose(found, drawn, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", UPDATES)
def test_what_a_gate_can_do(name):
    update = UPDATES[name][0]
    (kept, forgotten), (ignored, let_in) = (
        ops.convert_to_numpy(function(ops.convert_to_tensor([0.0, 1.0]))) for function in update
    )
    # A closed gate keeps all and ignores the input; an open one forgets all, but for the RG-LRU, and for an LRU, which
    # has none.
    assert (kept == 1 and ignored == 0) == (name != "LRU")
    assert (forgotten == 0) == (name in ("GRU", "Mamba")) and let_in > 0
