import numpy as np
import pytest

from experiments.harness.power_laws import PowerLaw, above_a_floor, line, r_squared, residuals

pytestmark = pytest.mark.any_backend

FLOPS = np.geomspace(1e12, 1e14, 5)


def test_a_line_is_that_of_least_squares():
    losses = np.exp(np.random.default_rng(0).normal(size=(3, 2, 5)))
    found = line(FLOPS, losses)
    assert found.scale.shape == (3, 2) and found(FLOPS).shape == (3, 2, 5)
    for index in np.ndindex(3, 2):
        slope, offset = np.polyfit(np.log(FLOPS), np.log(losses[index]), 1)
        np.testing.assert_allclose([found.exponent[index], found.scale[index]], [-slope, offset], rtol=1e-8)
        single = line(FLOPS, losses[index])
        np.testing.assert_allclose(single.exponent, found.exponent[index], rtol=1e-12)
        explained = np.corrcoef(np.log(FLOPS), np.log(losses[index]))[0, 1] ** 2
        np.testing.assert_allclose(r_squared(single, FLOPS, losses[index]), explained)
    np.testing.assert_allclose(residuals(found, FLOPS, losses).sum(axis=-1), 0, atol=1e-12)


@pytest.mark.parametrize("floor", [0.0, 0.5, 1.2])
def test_a_floor_is_found(floor):
    losses = PowerLaw(8.0, 0.3, floor)(FLOPS)
    found = above_a_floor(FLOPS, losses)
    # The floors that are tried are a fiftieth of the least loss apart.
    assert abs(found.floor - floor) <= 0.01 * losses.min() and abs(found.exponent - 0.3) < 0.04
    assert abs(residuals(found, FLOPS, losses)).max() < 2e-3


def test_each_row_has_a_floor_of_its_own():
    losses = np.stack([PowerLaw(8.0, 0.3, floor)(FLOPS) for floor in (0.2, 0.9)])
    found = above_a_floor(FLOPS, losses)
    singles = [above_a_floor(FLOPS, row) for row in losses]
    np.testing.assert_allclose(found.floor, [single.floor for single in singles])
    np.testing.assert_allclose(found(FLOPS), np.stack([single(FLOPS) for single in singles]))
