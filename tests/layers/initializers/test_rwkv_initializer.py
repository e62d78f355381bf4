import numpy as np

from keras_griffin.layers.initializers.rwkv_initializer import (
    orthogonal,
    place_of,
)
from keras_griffin.models import GriffinConfig
from keras_griffin.testing.arrays import as_array


def test_a_place_counts_layers_of_one_kind():
    config = GriffinConfig(11, 6, 7, 1, block_pattern=("rwkv4", "local_mqa", "rwkv4"))
    assert place_of(config, 0) == {"layer": 0, "num_layers": 5} and place_of(config, 5) == {"layer": 3, "num_layers": 5}
    assert place_of(config, 4) == {"layer": 1, "num_layers": 2}


def test_kernels_are_orthogonal_in_any_dtype():
    for dtype, digits in (("float32", 1e-5), ("bfloat16", 3e-2)):
        kernel = as_array(orthogonal(2.0)((4, 12), dtype)).astype("float64")
        np.testing.assert_allclose(kernel @ kernel.T, 4.0 * np.eye(4), atol=4 * digits)
