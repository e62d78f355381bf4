import pytest

from keras_griffin.conversion.namings import DEEPMIND_FLAX, DEEPMIND_TORCH
from keras_griffin.conversion.recurrentgemma import infer_config, shortest_pattern
from keras_griffin.models import presets
from parity.cases import FROZEN
from tests.conversion.checkpoints import deepmind_torch_weights, deepmind_weights, stored

pytestmark = pytest.mark.any_backend

NAMINGS = {"kernel": DEEPMIND_FLAX, "weight": DEEPMIND_TORCH}


@pytest.fixture(params=NAMINGS)
def linear(request):
    return request.param


def test_shapes_tell_the_sizes(linear):
    arrays = deepmind_weights(FROZEN) if linear == "kernel" else deepmind_torch_weights(FROZEN)
    config = infer_config(stored(arrays), NAMINGS[linear])
    assert (config.vocabulary_size, config.width, config.num_layers, config.mlp_width) == (12, 16, 4, 40)
    assert (config.num_heads, config.num_gate_blocks, config.head_dim, config.num_key_value_heads) == (2, 2, 8, 1)
    assert (config.recurrence_width, config.conv_kernel_size) == (24, 4)
    assert config.block_pattern == ("recurrent", "recurrent", "local_mqa")


@pytest.mark.parametrize(("size", "width", "layers", "heads"), [("2b", 2560, 26, 10), ("9b", 4096, 38, 16)])
def test_the_released_sizes_are_the_presets_with_deepmind_s_window(linear, size, width, layers, heads):
    shapes = {"embedder.input_embedding": (256_000, width)}
    for n in range(layers):
        shapes[f"blocks.{n}.mlp_block.ffw_up.w"] = (2, width, 3 * width)
        if n % 3 == 2:
            key = (width, 256) if linear == "kernel" else (256, width)
            shapes[f"blocks.{n}.attention_block.proj_k.{linear}"] = key
        else:
            shapes[f"blocks.{n}.recurrent_block.rg_lru.a_gate.w"] = (heads, width // heads, width // heads)
            shapes[f"blocks.{n}.recurrent_block.conv_1d.w"] = (4, width)
    # Their 2048 keys come before the query's own.
    assert infer_config(stored(shapes), NAMINGS[linear]) == presets()[f"recurrentgemma_{size}"].replace(window=2049)


@pytest.mark.parametrize(
    ("names", "pattern"), [("aab" * 8 + "aa", "aab"), ("a", "a"), ("aaaa", "a"), ("abcd", "abcd"), ("aba", "ab")]
)
def test_the_shortest_pattern(names, pattern):
    assert shortest_pattern(list(names)) == tuple(pattern)


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("blocks.0.recurrent_block.rg_lru.a_gate.w", (24,), r"with 3 axes\. Got \(24,\)"),
        ("blocks.0.mlp_block.ffw_up.w", None, r"with 3 axes\. Got None"),
        ("blocks.2.attention_block.proj_k.kernel", (16, 0), r"with 2 axes\. Got \(16, 0\)"),
    ],
)
def test_a_tensor_that_tells_a_size_must_be_there(name, shape, sentence):
    tensors = stored(deepmind_weights(FROZEN))
    # No size is read from a second layer of a kind.
    tensors |= stored({"blocks.1.recurrent_block.rg_lru.a_gate.w": (24,)})
    infer_config(tensors, DEEPMIND_FLAX)
    tensors.pop(name)
    tensors |= stored({} if shape is None else {name: shape})
    with pytest.raises(ValueError, match=rf"^load_recurrentgemma: the checkpoint must have {name} {sentence}\.$"):
        infer_config(tensors, DEEPMIND_FLAX)


def test_blocks_must_be_numbered_from_0():
    for shapes, received in (({}, r"\[\]"), ({"blocks.1.x": (1,)}, r"\[1\]")):
        with pytest.raises(
            ValueError, match=rf"^load_recurrentgemma: blocks must be numbered from 0\. Got {received}\.$"
        ):
            infer_config(stored(shapes), DEEPMIND_FLAX)
