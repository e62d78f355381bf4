import numpy as np
import pytest

from keras_griffin.conversion.deepmind_config import infer_config, shortest_pattern
from keras_griffin.conversion.namings import DEEPMIND_FLAX, DEEPMIND_TORCH
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.models import presets

pytestmark = pytest.mark.any_backend

NAMINGS = {"kernel": DEEPMIND_FLAX, "weight": DEEPMIND_TORCH}


def stored(checkpoints, linear, layers=None):
    weights = checkpoints.deepmind_weights(checkpoints.huggingface_weights(), linear)
    if layers is not None:
        renumbered = {f"blocks.{old}.": f"blocks.{new}." for new, old in enumerate(layers)}
        blocks = {
            name.replace(old, new): array
            for name, array in weights.items()
            for old, new in renumbered.items()
            if name.startswith(old)
        }
        weights = {name: array for name, array in weights.items() if not name.startswith("blocks.")} | blocks
    return {
        name: StoredTensor(array.shape, array.dtype, lambda: pytest.fail("read")) for name, array in weights.items()
    }


@pytest.mark.parametrize("linear", NAMINGS)
def test_shapes_tell_the_sizes(checkpoints, linear):
    config = infer_config(stored(checkpoints, linear), NAMINGS[linear])
    assert (config.vocabulary_size, config.width, config.num_layers, config.mlp_width) == (260, 32, 5, 40)
    assert (config.num_heads, config.num_gate_blocks, config.head_dim, config.num_key_value_heads) == (4, 4, 8, 1)
    assert (config.recurrence_width, config.conv_kernel_size) == (48, 4)
    assert config.block_pattern == ("recurrent", "recurrent", "local_mqa")


@pytest.mark.parametrize("linear", NAMINGS)
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
    tensors = {name: StoredTensor(shape, np.dtype("float32"), None) for name, shape in shapes.items()}
    # Their 2048 keys come before the query's own.
    assert infer_config(tensors, NAMINGS[linear]) == presets()[f"recurrentgemma_{size}"].replace(window=2049)


@pytest.mark.parametrize(
    ("names", "pattern"), [("aab" * 8 + "aa", "aab"), ("a", "a"), ("aaaa", "a"), ("abcd", "abcd"), ("aba", "ab")]
)
def test_the_shortest_pattern(names, pattern):
    assert shortest_pattern(list(names)) == tuple(pattern)


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("blocks.1.recurrent_block.rg_lru.a_gate.w", (48,), None),
        ("blocks.0.recurrent_block.rg_lru.a_gate.w", (48,), r"with 3 axes\. Got \(48,\)"),
        ("blocks.0.mlp_block.ffw_up.w", None, r"with 3 axes\. Got None"),
        ("blocks.2.attention_block.proj_k.kernel", (32, 0), r"with 2 axes\. Got \(32, 0\)"),
    ],
)
def test_a_tensor_that_tells_a_size_must_be_there(checkpoints, name, shape, sentence):
    tensors = stored(checkpoints, "kernel")
    tensors[name] = StoredTensor(shape, np.dtype("float32"), None)
    if shape is None:
        del tensors[name]
    if sentence is None:
        infer_config(tensors, DEEPMIND_FLAX)
        return
    with pytest.raises(ValueError, match=rf"^load_recurrentgemma: the checkpoint must have {name} {sentence}\.$"):
        infer_config(tensors, DEEPMIND_FLAX)
