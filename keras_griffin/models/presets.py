"""All sizes of the paper, of RecurrentGemma, Mamba and RWKV-4, and the trained model in the package."""

import json
import re
from pathlib import Path

from keras_griffin.models.config import GriffinConfig
from keras_griffin.names import nearest

#: The paper's Table 2: width D, recurrence width D_RNN, layers, heads of 128 channels.
PAPER_SIZES = {
    "100m": (768, 1024, 12, 6),
    "200m": (1024, 1536, 12, 8),
    "400m": (1536, 2048, 12, 12),
    "1.3b": (2048, 2560, 24, 16),
    "3b": (3072, 4096, 24, 24),
    "7b": (4096, 5632, 32, 32),
    "14b": (5120, 8192, 40, 40),
}
#: The pattern of mixers of each family. Only Griffin was trained at 14b.
FAMILIES = {"griffin": ("recurrent", "recurrent", "local_mqa"), "hawk": ("recurrent",), "mqa": ("global_mqa",)}
#: RecurrentGemma: width (also D_RNN), layers, heads of 256 channels (also the blocks of the gates).
RECURRENT_GEMMA_SIZES = {"2b": (2560, 26, 10), "9b": (4096, 38, 16)}
#: Mamba: width, layers.
MAMBA_SIZES = {"130m": (768, 24), "370m": (1024, 48), "790m": (1536, 48), "1.4b": (2048, 48), "2.8b": (2560, 64)}
#: RWKV-4: width, layers of its authors, which are two residual blocks each.
RWKV4_SIZES = {
    "169m": (768, 12),
    "430m": (1024, 24),
    "1.5b": (2048, 24),
    "3b": (2560, 32),
    "7b": (4096, 32),
    "14b": (5120, 40),
}
#: The trained models in the package, each a folder that `from_preset` loads.
TRAINED = {"python_tiny": Path(__file__).parent / "python_tiny"}


def presets() -> dict[str, GriffinConfig]:
    """The named sizes.

    The paper does not state its vocabulary size; its presets use RecurrentGemma's 256,000 tokens.

    Returns:
        Each `GriffinConfig` by its name, `griffin_`, `hawk_` and `mqa_` with `100m` to `7b`, `griffin_14b`,
        `recurrentgemma_2b` and `recurrentgemma_9b`, `mamba_130m`, `mamba_370m`, `mamba_790m`, `mamba_1.4b` and
        `mamba_2.8b`, `rwkv4_169m`, `rwkv4_430m`, `rwkv4_1.5b`, `rwkv4_3b`, `rwkv4_7b` and `rwkv4_14b`, and
        `python_tiny`, whose weights come with the package.

    Examples:
        >>> from keras_griffin.models import presets
        >>> presets()["recurrentgemma_2b"].parameter_count()
        2682862080

    Reference: De et al. 2024 (arXiv 2402.19427), table 2; Botev et al. 2024 (arXiv 2404.07839), table 1; Gu and Dao
    2023 (arXiv 2312.00752), Peng et al. 2023 (arXiv 2305.13048), and their released checkpoints.
    """
    configs = {}
    for family, pattern in FAMILIES.items():
        for size, (width, recurrence, layers, heads) in PAPER_SIZES.items():
            if size == "14b" and family != "griffin":
                continue
            configs[f"{family}_{size}"] = GriffinConfig(
                256_000,
                width,
                layers,
                heads,
                recurrence_width=recurrence,
                block_pattern=pattern,
                decay_initializer="paper",
            )
    for size, (width, num_layers, num_heads) in RECURRENT_GEMMA_SIZES.items():
        configs[f"recurrentgemma_{size}"] = GriffinConfig(
            256_000,
            width,
            num_layers,
            num_heads,
            recurrence_width=width,
            num_gate_blocks=num_heads,
            window=2048,
            decay_initializer="ring",
            scale_embeddings=True,
            logits_soft_cap=30.0,
        )
    for size, (width, num_layers) in MAMBA_SIZES.items():
        configs[f"mamba_{size}"] = GriffinConfig(
            50_280, width, num_layers, num_heads=1, block_pattern=("mamba",), mlp_width=0, norm_epsilon=1e-5
        )
    for size, (width, num_layers) in RWKV4_SIZES.items():
        configs[f"rwkv4_{size}"] = rwkv4_config(50_277, width, num_layers)
    for name, folder in TRAINED.items():
        configs[name] = GriffinConfig(**json.loads((folder / "config.json").read_text("utf-8"))["config"])
    return configs


def rwkv4_config(vocabulary_size: int, width: int, num_layers: int, expand: int = 4) -> GriffinConfig:
    """An RWKV-4; each of its authors' layers is two residual blocks, and `expand` D the width of `rwkv4_channel`."""
    return GriffinConfig(
        vocabulary_size,
        width,
        2 * num_layers,
        num_heads=1,
        block_pattern=("rwkv4", "rwkv4_channel"),
        mlp_width=0,
        norm="layer",
        norm_epsilon=1e-5,
        embedding_norm=True,
        tie_embeddings=False,
        mixer_options={} if expand == 4 else {"rwkv4_channel": {"expand": expand}},
    )


def find_preset(name: str) -> GriffinConfig:
    """The preset of that name."""
    configs = presets()
    if name not in configs and "/" in name:
        on_the_hub = (
            f"; on the Hugging Face Hub it is {'hf://' + name!r}" if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) else ""
        )
        raise ValueError(
            f"from_preset: a path must be an existing folder or file. Got {name!r}, which does not exist{on_the_hub}."
        )
    if name not in configs:
        near = ", ".join(nearest(name, configs)) or "those of keras_griffin.models.presets()"
        raise ValueError(f"from_preset: no preset has that name; the nearest are {near}. Got {name!r}.")
    return configs[name]
