"""The size of a block. The order in which blocks come shows in what kernels compute."""

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

from keras_griffin.ops.recurrence.kernels.jax_pallas_tpu_blocks import BLOCK_BYTES, GROUP, LANES, tile


@pytest.mark.parametrize(
    ("length", "width", "bytes_per_element", "expected"),
    [
        (4096, 4096, 12, (512, 512)),
        (4096, 2560, 12, (512, 512)),
        (4096, 640, 12, (512, 128)),
        (4096, 768, 12, (512, 384)),
        (1000, 2560, 12, (512, 512)),
        (513, 128, 12, (272, 128)),
        (2, 5, 12, (16, 128)),
        (4096, 4096, 48, (256, 512)),
        (4096, 4096, 100, (112, 512)),
    ],
)
def test_tile(length, width, bytes_per_element, expected):
    assert tile(length, width, bytes_per_element) == expected


def test_every_tile_fits_and_is_made_of_whole_registers():
    for length in (2, 15, 16, 17, 511, 512, 513, 1000, 16384):
        for width in (1, 127, 128, 129, 500, 2560, 5632):
            for bytes_per_element in (6, 12, 32, 64):
                steps, channels = tile(length, width, bytes_per_element)
                assert steps % GROUP == 0
                assert channels % LANES == 0
                assert 2 * steps * channels * bytes_per_element <= BLOCK_BYTES
                # No block lies wholly beyond the end.
                assert -(-length // steps) * steps - length < steps
