"""Infer the config of a RecurrentGemma from DeepMind, which comes without one, from the shapes of its tensors."""

import re
from collections.abc import Mapping
from typing import Any

from keras_griffin.conversion.foreign import shape_of
from keras_griffin.conversion.huggingface_config import NAME
from keras_griffin.conversion.namings import DEEPMIND_FLAX, Naming
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.models import GriffinConfig

#: Fields that no shape reveals, as in the RecurrentGemma release. DeepMind's window of 2048 excludes the query's own
#: key.
RELEASED: dict[str, Any] = {
    "window": 2049,
    "logits_soft_cap": 30.0,
    "scale_embeddings": True,
    "decay_initializer": "ring",
    "rotary_fraction": 0.5,
    "rotary_base": 10000.0,
    "norm_epsilon": 1e-6,
}


def infer_config(tensors: Mapping[str, StoredTensor], naming: Naming) -> GriffinConfig:
    """The config that the shapes of a checkpoint in one of DeepMind's namings tell, with `RELEASED` for the rest."""
    layers = {int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    is_attention = [f"blocks.{index}.attention_block.proj_k.{_weight(naming)}" in tensors for index in sorted(layers)]
    if not layers or layers != set(range(len(layers))):
        raise ValueError(f"{NAME}: blocks must be numbered from 0. Got {sorted(layers)}.")
    pattern = shortest_pattern(["local_mqa" if attends else "recurrent" for attends in is_attention])
    vocabulary_size, width = shape_of(NAME, tensors, "embedder.input_embedding", 2)
    _, _, mlp_width = shape_of(NAME, tensors, "blocks.0.mlp_block.ffw_up.w", 3)
    sizes: dict[str, Any] = {"recurrence_width": width, "head_dim": None}
    if "local_mqa" in pattern:
        key = f"blocks.{pattern.index('local_mqa')}.attention_block.proj_k.{_weight(naming)}"
        sizes["head_dim"] = shape_of(NAME, tensors, key, 2)[1 if naming is DEEPMIND_FLAX else 0]
        # A recurrent layer's gates, if there is one, tell it exactly.
        num_heads = width // sizes["head_dim"]
    if "recurrent" in pattern:
        block = f"blocks.{pattern.index('recurrent')}.recurrent_block"
        num_heads, *_ = shape_of(NAME, tensors, f"{block}.rg_lru.a_gate.w", 3)
        kernel_size, recurrence_width = shape_of(NAME, tensors, f"{block}.conv_1d.w", 2)
        sizes |= {"recurrence_width": recurrence_width, "conv_kernel_size": kernel_size}
    return GriffinConfig(
        vocabulary_size=vocabulary_size,
        width=width,
        num_layers=len(layers),
        num_heads=num_heads,
        mlp_width=mlp_width,
        num_gate_blocks=num_heads,
        block_pattern=pattern,
        **sizes,
        **RELEASED,
    )


def shortest_pattern(names: list[str]) -> tuple[str, ...]:
    """The shortest prefix of a list that, repeated and truncated, gives the list."""
    lengths = range(1, len(names) + 1)
    return tuple(next(names[:n] for n in lengths if all(name == names[i % n] for i, name in enumerate(names))))


def _weight(naming) -> str:
    return "kernel" if naming is DEEPMIND_FLAX else "weight"
