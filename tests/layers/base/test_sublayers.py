import pytest

from keras_griffin.layers import RGLRU, ResidualBlock
from keras_griffin.layers.base.sublayers import with_parts
from keras_griffin.mixers import RecurrentBlock

pytestmark = pytest.mark.any_backend


def test_each_layer_is_found_once_at_any_depth():
    block = ResidualBlock(RecurrentBlock(16, name="mixer"), 24, name="block")
    block.build((None, None, 8))
    found = with_parts([block, block.mixer])
    paths = [layer.path for layer in found]
    assert len(set(map(id, found))) == len(found) and paths.count("block/mixer") == 1
    assert {"block", "block/mlp/up", "block/mixer/conv", "block/mixer/rg_lru/input_gate/blocks"} <= set(paths)


def test_a_layer_without_parts_is_itself():
    layer = RGLRU()
    assert with_parts([layer])[0] is layer and with_parts([]) == []
