"""The tables against the names and shapes of the published code, in both directions."""

import ml_dtypes
import numpy as np
import pytest

from keras_griffin.conversion import mamba, namings
from keras_griffin.conversion.layouts import SCALE
from keras_griffin.conversion.recurrentgemma import infer_config, read_config
from keras_griffin.conversion.rwkv import read_rwkv_config
from keras_griffin.models.weight_shapes import weight_shapes
from parity.cases import FROZEN
from tests.conversion.checkpoints import (
    MAMBA,
    MAMBA2,
    MAMBA2_OTHER,
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


def published(name, is_second=False):
    """The arrays of a small checkpoint by the names of one implementation, of Mamba-2 if second, and its config."""
    if name.startswith("DEEPMIND"):
        arrays = deepmind_weights(FROZEN) if name == "DEEPMIND_FLAX" else deepmind_torch_weights(FROZEN)
        return arrays, infer_config(stored(arrays), getattr(namings, name))
    if name.startswith("MAMBA"):
        family = mamba.MAMBA2 if is_second else mamba.MAMBA
        if name == "MAMBA_HUGGING_FACE":
            case = MAMBA2_OTHER if is_second else MAMBA_OTHER
            return weights_of(case), family.read_config(config_of(case))
        case = MAMBA2 if is_second else MAMBA
        arrays = mamba_authors_weights(case)
        del arrays["lm_head.weight"]
        return arrays, family.read_config(config_of(case))
    if name.startswith("RWKV"):
        arrays = weights_of(RWKV) if name == "RWKV_HUGGING_FACE" else rwkv_authors_weights()
        return arrays, read_rwkv_config(config_of(RWKV))
    return weights_of(OTHER), read_config(config_of(OTHER))


NAMINGS = [name for name in vars(namings) if name.endswith(("_FACE", "_AUTHORS", "FLAX", "TORCH"))]


@pytest.mark.parametrize(
    ("name", "is_second"),
    [*((name, False) for name in NAMINGS), *((name, True) for name in NAMINGS if name.startswith("MAMBA"))],
)
def test_there_and_back_is_the_same_bit_by_bit(name, is_second):
    theirs, config = published(name, is_second)
    tensors, shapes = getattr(namings, name).tensors(config.mixer_names), weight_shapes(config)
    assert set(tensors) == set(theirs)
    # Every variable has one place.
    assert sorted(path for _, paths in tensors.values() for path in paths) == sorted(shapes)
    for tensor_name, (layout, paths) in tensors.items():
        array = theirs[tensor_name].copy()
        array.flat[0] = np.nan
        parts = tuple(part.astype(array.dtype) for part in layout.split(array, *(shapes[path] for path in paths)))
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
