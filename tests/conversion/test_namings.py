"""The tables against the names and shapes of the published code, in both directions."""

import ml_dtypes
import numpy as np
import pytest

from keras_griffin.conversion import namings
from keras_griffin.conversion.layouts import SCALE
from keras_griffin.conversion.mamba import read_mamba_config
from keras_griffin.conversion.recurrentgemma import infer_config, read_config
from keras_griffin.conversion.rwkv import read_rwkv_config
from keras_griffin.models.weight_shapes import weight_shapes
from parity.cases import FROZEN
from tests.conversion.checkpoints import (
    MAMBA,
    MAMBA_OTHER,
    OTHER,
    RWKV,
    config_of,
    deepmind_torch_weights,
    deepmind_weights,
    mamba_authors_weights,
    rwkv_authors_weights,
    stored,
    weights_of,
)

pytestmark = pytest.mark.any_backend


def published(name):
    """The arrays of a small checkpoint by the names of one implementation, and its config."""
    if name.startswith("DEEPMIND"):
        arrays = deepmind_weights(FROZEN) if name == "DEEPMIND_FLAX" else deepmind_torch_weights(FROZEN)
        return arrays, infer_config(stored(arrays), getattr(namings, name))
    if name.startswith("MAMBA"):
        case = MAMBA_OTHER if name == "MAMBA_HUGGING_FACE" else MAMBA
        arrays = weights_of(case) if case is MAMBA_OTHER else mamba_authors_weights()
        arrays.pop("lm_head.weight", None)
        return arrays, read_mamba_config(config_of(case))
    if name.startswith("RWKV"):
        arrays = weights_of(RWKV) if name == "RWKV_HUGGING_FACE" else rwkv_authors_weights()
        return arrays, read_rwkv_config(config_of(RWKV))
    return weights_of(OTHER), read_config(config_of(OTHER))


@pytest.mark.parametrize(
    "name", [name for name in vars(namings) if name.endswith(("_FACE", "_AUTHORS", "FLAX", "TORCH"))]
)
def test_there_and_back_is_the_same_bit_by_bit(name):
    theirs, config = published(name)
    tensors, shapes = getattr(namings, name).tensors(config.mixer_names), weight_shapes(config)
    assert set(tensors) == set(theirs)
    # Every variable has one place.
    assert sorted(path for _, paths in tensors.values() for path in paths) == sorted(shapes)
    for tensor_name, (layout, paths) in tensors.items():
        array = theirs[tensor_name].copy()
        array.flat[0] = np.nan
        parts = tuple(part.astype(array.dtype) for part in layout.split(array))
        assert [part.shape for part in parts] == [shapes[path] for path in paths], tensor_name
        assert layout.shape(*(part.shape for part in parts)) == array.shape
        assert np.ascontiguousarray(layout.join(*parts)).tobytes() == array.tobytes()


def test_a_scale_is_written_with_every_bit_of_the_scale_minus_one():
    for dtype, values, wide in (
        ("float32", [0.0, 0.5, -0.75], "float32"),
        ("float32", [1e-3], "float64"),
        (ml_dtypes.bfloat16, [0.0, 0.5], ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, [1e-3], "float32"),
        ("float16", [1e-3], "float32"),
    ):
        ours = np.array(values, dtype)
        theirs = SCALE.join(ours)
        assert theirs.dtype == np.dtype(wide) and SCALE.may_widen
        (back,) = SCALE.split(theirs)
        assert back.astype(dtype).tobytes() == ours.tobytes()
