"""The tensor names of RecurrentGemma, Mamba, Mamba-2 and RWKV-4: Hugging Face's, and those of the authors' code."""

from collections.abc import Mapping
from typing import NamedTuple

from keras_griffin.conversion.layouts import (
    BLOCKS_BIAS,
    DEPTHWISE,
    NEGATED,
    PAIR_OF_BIASES,
    PAIR_OF_KERNELS,
    ROW,
    SAME,
    SCALE,
    TRANSPOSED,
    TRANSPOSED_TOGETHER,
    Layout,
)


class Naming(NamedTuple):
    """The names of one implementation. Each table maps a name to a layout and paths, relative to its parent."""

    model: Mapping[str, tuple]
    block_prefix: str
    block: Mapping[str, tuple]
    #: By mixer, relative to the block as well.
    mixers: Mapping[str, Mapping[str, tuple]]
    #: How many of our blocks are one of theirs.
    blocks_each: int = 1

    @property
    def embedding(self) -> str:
        """The name of the embedding table."""
        return next(name for name, (_, path) in self.model.items() if path == "token_embedding/embeddings")

    def tensors(self, mixer_names: tuple[str, ...]) -> dict[str, tuple[Layout, tuple[str, ...]]]:
        """The tensors, by name, of a model with these mixers: the layout, and the paths of the variables here."""
        found = {name: (layout, tuple(paths)) for name, (layout, *paths) in self.model.items()}
        for index, mixer_name in enumerate(mixer_names):
            prefix = self.block_prefix.format(index // self.blocks_each)
            for name, (layout, *paths) in {**self.block, **self.mixers[mixer_name]}.items():
                found[prefix + name] = layout, tuple(f"block_{index}/{path}" for path in paths)
        return found


def _gates(input_gate: str, recurrence_gate: str, weight: str, bias: str) -> dict[str, tuple]:
    names = {input_gate: "input_gate", recurrence_gate: "recurrence_gate"}
    kernels = {f"{name}{weight}": (SAME, f"rg_lru/{gate}/blocks/kernel") for name, gate in names.items()}
    return kernels | {f"{name}{bias}": (BLOCKS_BIAS, f"rg_lru/{gate}/blocks/bias") for name, gate in names.items()}


def _projections(weight: str, layout: Layout, names: Mapping[str, str], use_bias: bool = True) -> dict[str, tuple]:
    kernels = {f"{name}.{weight}": (layout, f"{path}/kernel") for name, path in names.items()}
    biases = {f"{name}.bias": (SAME, f"{path}/bias") for name, path in names.items()}
    return kernels | biases if use_bias else kernels


def _mixer(prefix: str, table: Mapping[str, tuple]) -> dict[str, tuple]:
    """A mixer's tensors, by their names in a block."""
    return {prefix + name: (layout, *(f"mixer/{path}" for path in paths)) for name, (layout, *paths) in table.items()}


def _attention(prefix: str, weight: str, layout: Layout, names: tuple[str, str, str, str]) -> dict[str, tuple]:
    """A local attention's tensors, from the names of its projections."""
    query, key, value, output = names
    unbiased = _projections(weight, layout, {query: "query", key: "key", value: "value"}, False)
    return _mixer(prefix, {**unbiased, **_projections(weight, layout, {output: "output_projection"})})


RECURRENT_PROJECTIONS = {"linear_x": "input_projection", "linear_y": "gate", "linear_out": "output_projection"}

#: `transformers`, since 4.40.
HUGGING_FACE = Naming(
    model={
        "model.embed_tokens.weight": (SAME, "token_embedding/embeddings"),
        "model.final_norm.weight": (SAME, "final_norm/scale"),
    },
    block_prefix="model.layers.{}.",
    block={
        "temporal_pre_norm.weight": (SAME, "mixer_norm/scale"),
        "channel_pre_norm.weight": (SAME, "mlp_norm/scale"),
        **_projections(
            "weight",
            TRANSPOSED,
            {"mlp_block.gate_proj": "mlp/gate", "mlp_block.up_proj": "mlp/up", "mlp_block.down_proj": "mlp/down"},
        ),
    },
    mixers={
        "recurrent": _mixer(
            "temporal_block.",
            {
                **_projections("weight", TRANSPOSED, RECURRENT_PROJECTIONS),
                "conv_1d.weight": (DEPTHWISE, "conv/kernel"),
                "conv_1d.bias": (SAME, "conv/bias"),
                "rg_lru.recurrent_param": (NEGATED, "rg_lru/decay_parameter"),
                **_gates("rg_lru.input_gate", "rg_lru.recurrent_gate", "_weight", "_bias"),
            },
        ),
        "local_mqa": _attention("temporal_block.", "weight", TRANSPOSED, ("q_proj", "k_proj", "v_proj", "o_proj")),
    },
)


def _deepmind(weight: str, layout: Layout) -> Naming:
    """One of DeepMind's two implementations, which differ only in their linear layers."""
    return Naming(
        model={
            "embedder.input_embedding": (SAME, "token_embedding/embeddings"),
            "final_norm.scale": (SAME, "final_norm/scale"),
        },
        block_prefix="blocks.{}.",
        block={
            "temporal_pre_norm.scale": (SAME, "mixer_norm/scale"),
            "channel_pre_norm.scale": (SAME, "mlp_norm/scale"),
            "mlp_block.ffw_up.w": (PAIR_OF_KERNELS, "mlp/gate/kernel", "mlp/up/kernel"),
            "mlp_block.ffw_up.b": (PAIR_OF_BIASES, "mlp/gate/bias", "mlp/up/bias"),
            **_projections(weight, layout, {"mlp_block.ffw_down": "mlp/down"}),
        },
        mixers={
            "recurrent": _mixer(
                "recurrent_block.",
                {
                    **_projections(weight, layout, RECURRENT_PROJECTIONS),
                    "conv_1d.w": (SAME, "conv/kernel"),
                    "conv_1d.b": (SAME, "conv/bias"),
                    "rg_lru.a_param": (NEGATED, "rg_lru/decay_parameter"),
                    **_gates("rg_lru.input_gate", "rg_lru.a_gate", ".w", ".b"),
                },
            ),
            "local_mqa": _attention("attention_block.", weight, layout, ("proj_q", "proj_k", "proj_v", "proj_final")),
        },
    )


DEEPMIND_FLAX = _deepmind("kernel", SAME)
DEEPMIND_TORCH = _deepmind("weight", TRANSPOSED)


def _mamba(embedding: str) -> Naming:
    """One of the two implementations of Mamba and Mamba-2, which differ only in the embedding's name."""

    def mixer(*projections, **others):
        output = _projections("weight", TRANSPOSED, {"out_proj": "output_projection"}, False)
        together = TRANSPOSED_TOGETHER, *(f"{name}/kernel" for name in projections)
        return _mixer("mixer.", {"in_proj.weight": together, **others, **output})

    return Naming(
        model={
            f"backbone.{embedding}.weight": (SAME, "token_embedding/embeddings"),
            "backbone.norm_f.weight": (SCALE, "final_norm/scale"),
        },
        block_prefix="backbone.layers.{}.",
        block={"norm.weight": (SCALE, "mixer_norm/scale")},
        mixers={
            "mamba": mixer(
                *("input_projection", "gate"),
                **{"conv1d.weight": (DEPTHWISE, "conv/kernel"), "conv1d.bias": (SAME, "conv/bias")},
                **_projections("weight", TRANSPOSED, {"x_proj": "ssm/selection"}, False),
                **_projections("weight", TRANSPOSED, {"dt_proj": "ssm/step"}),
                **{"A_log": (SAME, "ssm/dynamics/log_rates"), "D": (SAME, "ssm/feedthrough")},
            ),
            "mamba2": mixer(
                *("gate", "input_projection", "key", "query", "step"),
                **{"conv1d.weight": (DEPTHWISE, "conv_kernel"), "conv1d.bias": (SAME, "conv_bias")},
                **{"dt_bias": (SAME, "dynamics/step_bias"), "A_log": (SAME, "dynamics/log_rates")},
                **{"D": (SAME, "feedthrough"), "norm.weight": (SCALE, "scale")},
            ),
        },
    )


#: `transformers`, since 4.39, and for Mamba-2 since 4.44.
MAMBA_HUGGING_FACE = _mamba("embeddings")
#: `mamba-ssm`, the authors' code.
MAMBA_AUTHORS = _mamba("embedding")


def _rwkv(prefix: str, embedding: str, first_norm: str, time: str, channel: str, mixes: tuple[str, str, str]) -> Naming:
    """One of RWKV-4's two implementations, which differ in names, but not in layouts."""
    projections = {name: name for name in ("key", "value", "receptance")}
    output = {"output": "output_projection"}
    mixed = {name: {f"time_mix_{mix}": (ROW, f"mix_{name}")} for name, mix in zip(projections, mixes, strict=True)}

    def norm(theirs, ours):
        return {f"{theirs}.weight": (SAME, f"{ours}/gamma"), f"{theirs}.bias": (SAME, f"{ours}/beta")}

    return Naming(
        model={
            f"{prefix}{embedding}.weight": (SAME, "token_embedding/embeddings"),
            **norm(f"{prefix}blocks.0.{first_norm}", "token_embedding/norm"),
            **norm(f"{prefix}ln_out", "final_norm"),
            "head.weight": (TRANSPOSED, "token_embedding/reverse_embeddings"),
        },
        block_prefix=prefix + "blocks.{}.",
        block={},
        mixers={
            "rwkv4": {
                **norm("ln1", "mixer_norm"),
                **_mixer(f"{time}.", {"time_decay": (SAME, "log_rate"), "time_first": (SAME, "first")}),
                **_mixer(f"{time}.", {**mixed["key"], **mixed["value"], **mixed["receptance"]}),
                **_mixer(f"{time}.", _projections("weight", TRANSPOSED, {**projections, **output}, False)),
            },
            "rwkv4_channel": {
                **norm("ln2", "mixer_norm"),
                **_mixer(f"{channel}.", {**mixed["key"], **mixed["receptance"]}),
                **_mixer(f"{channel}.", _projections("weight", TRANSPOSED, projections, False)),
            },
        },
        blocks_each=2,
    )


#: `transformers`, since 4.29.
RWKV_HUGGING_FACE = _rwkv("rwkv.", "embeddings", "pre_ln", "attention", "feed_forward", ("key", "value", "receptance"))
#: The authors' code.
RWKV_AUTHORS = _rwkv("", "emb", "ln0", "att", "ffn", ("k", "v", "r"))
