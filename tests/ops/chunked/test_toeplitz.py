import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.chunked.toeplitz import at_once, toeplitz_product, within_blocks
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(("steps", "length"), [(1, 1), (3, 5), (64, 7), (70, 64)])
def test_a_product_with_every_step(steps, length):
    """As one matrix, and from 64 steps on by a Fourier transform."""
    x, taps = (GENERATOR.normal(size=(2, *size)).astype("float32") for size in ((3, steps), (steps + length - 1,)))
    pairs = zip(x, taps, strict=True)
    expected = [[np.convolve(row, k)[steps - 1 : steps - 1 + length] for row in rows] for rows, k in pairs]
    product = toeplitz_product(*map(ops.convert_to_tensor, (x, taps)), length)
    assert_close(product, np.array(expected))


@pytest.mark.parametrize("has_resets", [False, True])
@pytest.mark.parametrize(("function", "size"), [(at_once, 8), (within_blocks, 8), (within_blocks, 128)])
def test_blocks_see_what_is_earlier_and_of_their_document(function, size, has_resets):
    x, taps = (GENERATOR.normal(size=(2, *rest, size)).astype("float32") for rest in ((4,), ()))
    document = np.cumsum(GENERATOR.random((4, size)) < 6 / size, axis=1).astype("int32") * has_resets
    earlier = np.subtract.outer(np.arange(size), np.arange(size))
    matrix = np.where(earlier >= 0, taps[:, np.maximum(earlier, 0)], 0.0)
    sees = document[:, :, None] == document[:, None]
    expected = np.einsum("dij,xij,dxj->dxi", matrix, sees, x)
    given = ops.convert_to_tensor(document) if has_resets else None
    assert_close(function(ops.convert_to_tensor(x), ops.convert_to_tensor(taps), given), expected)
    # What is later is not even multiplied.
    cut = 5 * size // 8
    x[:, :, cut:] = np.nan
    sums = function(ops.convert_to_tensor(x), ops.convert_to_tensor(taps), given)
    assert_close(as_array(sums)[..., :cut], expected[..., :cut], "float32")
