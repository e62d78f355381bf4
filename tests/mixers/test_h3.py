"""H3 against its equations in NumPy."""

import numpy as np
import pytest

from keras_griffin.mixers import H3
from keras_griffin.testing.arrays import as_array
from tests.layers.units.definitions import WIDTH, built, check_equations
from tests.layers.units.state_space.test_s4d import complex_of, system


def dense(weights, name, x):
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def step(head_dim):
    def equations(weights, x, state):
        earlier, hidden = state
        q, k, v = (dense(weights, name, x) for name in ("query", "key", "value"))
        seen = np.concatenate([earlier, k[:, None]], axis=1)
        k = (seen * weights["shift"]).sum(1)
        q, k, v = (each.reshape(len(x), -1, head_dim) for each in (q, k, v))
        product = k[:, :, :, None] * v[:, :, None]
        # Of each head, for its whole matrix.
        a, b = (each[:, None, None] for each in system(weights, "zoh"))
        hidden = a * complex_of(hidden).reshape(*product.shape, -1) + b * product[..., None]
        c = complex_of(weights["output_weights"])[:, None, None]
        matrix = 2 * (c * hidden).real.sum(-1) + weights["feedthrough"][:, None, None] * product
        y = np.einsum("bhi,bhij->bhj", q, matrix).reshape(x.shape)
        parts = np.concatenate([hidden.real, hidden.imag], -1)
        return dense(weights, "output_projection", y), [seen[:, 1:], parts.reshape(len(x), WIDTH * head_dim, -1)]

    return equations


@pytest.mark.parametrize("head_dim", [1, 3])
def test_equations(head_dim):
    check_equations(built(H3(state_size=4, head_dim=head_dim, shift_size=3), 0.2), step(head_dim))


def test_the_first_shift():
    layer = H3(state_size=2)
    layer.build((None, None, 200))
    shift = np.abs(as_array(layer.shift))
    assert 0.12 < shift[:-1].max() <= 1 / 8
    assert 0.8 < np.sqrt(np.mean(shift[-1] ** 2)) < 1.2


def test_heads_that_do_not_fit():
    with pytest.raises(ValueError, match=r"^H3: head_dim must divide the width\. Got 4 and 6\.$"):
        H3(head_dim=4).build((None, None, WIDTH))
