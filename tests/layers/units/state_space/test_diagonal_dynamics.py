import numpy as np
import pytest

from keras_griffin.layers.units.state_space.diagonal_dynamics import DiagonalDynamics
from keras_griffin.testing.arrays import as_array
from tests.layers.units.state_space.test_s4d import complex_of, system


@pytest.mark.parametrize("log_step", [-9.0, 0.0, 3.0])
def test_samples_of_any_step(log_step):
    """Also where 1 + lambda d / 2 is zero: d = exp(0), lambda = -2."""
    layer = DiagonalDynamics(4, "lin", (0.1, 0.1))
    layer.build((None, 1))
    values = {"log_rates": [[np.log(2.0), 0.5]], "frequencies": [[0.0, 1.5]], "log_steps": [log_step]}
    for name, value in values.items():
        getattr(layer, name).assign(value)
    transition, factor = (complex_of(as_array(x)) for x in layer.sampled("bilinear"))
    a, b = system({f"dynamics/{name}": np.array(value) for name, value in values.items()}, "bilinear")
    np.testing.assert_allclose(np.exp(transition), a, atol=1e-6)
    np.testing.assert_allclose(factor, b, rtol=1e-6)
    # The digits of log a itself, which powers multiply.
    if log_step:
        np.testing.assert_allclose(transition.real, np.log(np.abs(a)), rtol=1e-6)
