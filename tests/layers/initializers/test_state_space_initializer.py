import numpy as np
import pytest

from keras_griffin.layers.initializers.state_space_initializer import (
    blocks_of_legs,
    hippo_legs,
    input_matrix,
    output_matrix,
)
from keras_griffin.testing.arrays import as_array


def legs(size):
    """HiPPO-LegS, and the low-rank term that makes it normal."""
    n = np.arange(size)
    a = np.where(n[:, None] > n, -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), 0) - np.diag(n + 1)
    return a, np.sqrt(n + 0.5)


@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_eigenvectors_rebuild_the_matrix(size):
    a, p = legs(size)
    values, vectors = hippo_legs(size)
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.conj().T, a + np.outer(p, p), atol=1e-10)
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(size), atol=1e-12)


def test_blocks_stand_on_the_diagonal_and_keep_one_of_each_pair():
    a, p = legs(4)
    values, vectors = blocks_of_legs(12, 3, conjugate_pairs=True)
    assert values.shape == (6,) and vectors.shape == (12, 6) and values.imag.max() < 0
    # A pair's sum is twice the real part.
    whole = 2 * (vectors @ np.diag(values) @ vectors.conj().T).real
    np.testing.assert_allclose(whole, np.kron(np.eye(3), a + np.outer(p, p)), atol=1e-10)
    values, vectors = blocks_of_legs(12, 3, conjugate_pairs=False)
    assert values.shape == (12,) and vectors.shape == (12, 12)


def test_the_matrices_are_drawn_in_the_original_basis():
    """B = V* B' and C = C' V are complex, but C B is that of real or complex matrices without V."""
    _, vectors = blocks_of_legs(32, 2, conjugate_pairs=False)
    b, c = as_array(input_matrix(vectors)((64, 64), "float32")), as_array(output_matrix(vectors)((64, 64), "float32"))
    b = (b[:, :32] + 1j * b[:, 32:]).T
    original = vectors @ b
    np.testing.assert_allclose(original.imag, 0, atol=1e-5)
    np.testing.assert_allclose(original.real.std(), 64**-0.5, rtol=0.05)
    c = (c[:32] - 1j * c[32:]).T @ vectors.conj().T
    np.testing.assert_allclose([c.real.std(), c.imag.std()], 32**-0.5, rtol=0.1)
