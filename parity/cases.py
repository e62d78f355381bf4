"""The tiny models that are compared: shapes, and random weights far from any initialisation. NumPy alone."""

from dataclasses import dataclass

import numpy as np

RRA = ("recurrent", "recurrent", "attention")


@dataclass(frozen=True)
class Case:
    """One model. `window` is the number that a config calls `attention_window_size`."""

    name: str
    seed: int
    width: int
    num_heads: int
    num_layers: int
    recurrence_width: int
    window: int = 7
    mlp_width: int = 40
    vocabulary_size: int = 48
    block_types: tuple[str, ...] = RRA
    num_key_value_heads: int = 1
    conv_width: int = 4
    norm_epsilon: float = 1e-6
    rotary_base: float = 10000.0
    rotary_fraction: float = 0.5
    soft_cap: float = 30.0
    scale_embeddings: bool = True
    stored: str = "float32"
    #: Whether generation also begins with a prompt of one token, which is another program to compile.
    from_one_token: bool = False
    for_transformers: bool = True
    for_deepmind: bool = True

    @property
    def layers(self):
        """The kind of each layer: the pattern repeated and cut."""
        return [self.block_types[index % len(self.block_types)] for index in range(self.num_layers)]


# Seeds without a greedy choice between two equals (see `parity.ask`), and where the references' own rounding is not
# most of the limit.
CASES = (
    # sqrt(24) = 4.899 is not a bfloat16 number: the embeddings' scale is 4.90625.
    Case("base", seed=1, width=24, num_heads=2, num_layers=3, recurrence_width=24, from_one_token=True),
    Case("wide", seed=2, width=16, num_heads=4, num_layers=4, recurrence_width=32, from_one_token=True),
    Case("hawk", seed=3, width=24, num_heads=3, num_layers=3, recurrence_width=36, block_types=("recurrent",)),
    # As the released models: cut after two recurrent blocks, and stored in bfloat16.
    Case("cut", seed=10, width=32, num_heads=4, num_layers=5, recurrence_width=32, stored="bfloat16"),
    # As the presets of the paper: no scale and no cap, which Hugging Face can't say.
    Case(
        *("paper", 11, 16, 2, 4, 24),
        soft_cap=0.0,
        scale_embeddings=False,
        for_transformers=False,
    ),
    # Every number that only Hugging Face can say is away from its default.
    Case(
        *("other", 6, 32, 4, 4, 24),
        block_types=("attention", "recurrent"),
        num_key_value_heads=2,
        conv_width=3,
        norm_epsilon=1e-2,
        rotary_base=50.0,
        rotary_fraction=1.0,
        soft_cap=3.0,
        for_deepmind=False,
    ),
)
#: Whose logits are committed, as numbers, with the tests.
FROZEN = Case(
    "frozen",
    seed=7,
    width=16,
    num_heads=2,
    num_layers=4,
    recurrence_width=24,
    window=5,
    vocabulary_size=12,
    from_one_token=True,
)


def huggingface_config(case):
    """The numbers of a case as `config.json` has them, every one given."""
    return {
        "model_type": "recurrent_gemma",
        "num_hidden_layers": case.num_layers,
        "vocab_size": case.vocabulary_size,
        "hidden_size": case.width,
        # The width of both halves of the gated MLP together.
        "intermediate_size": 2 * case.mlp_width,
        "num_attention_heads": case.num_heads,
        "num_key_value_heads": case.num_key_value_heads,
        "lru_width": case.recurrence_width,
        "attention_window_size": case.window,
        "conv1d_width": case.conv_width,
        "logits_soft_cap": case.soft_cap,
        "rms_norm_eps": case.norm_epsilon,
        "block_types": list(case.block_types),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": case.rotary_base,
            "partial_rotary_factor": case.rotary_fraction,
        },
    }


def weights(case):
    """Random weights by their Hugging Face names, float32 (numbers of `case.stored`'s precision).

    Biases, norms and the recurrence's parameter are far from zero, and each tap of a convolution weighs as much as the
    others, so that a fault in any of them moves the logits.
    """
    generator = np.random.default_rng(case.seed)

    def draw(bound, *shape, around=0.0):
        values = (around + bound * (2.0 * generator.random(shape) - 1.0)).astype("float32")
        if case.stored == "bfloat16":
            # The upper half of a float32 is a bfloat16.
            values = (values.view("uint32") & 0xFFFF0000).view("float32")
        return values

    def linear(name, outputs, inputs, bias=True):
        tensors = {f"{name}.weight": draw((3.0 / inputs) ** 0.5, outputs, inputs)}
        return {**tensors, f"{name}.bias": draw(0.5, outputs)} if bias else tensors

    width, inner, heads = case.width, case.recurrence_width, case.num_heads
    head_dim, block = width // heads, inner // heads
    # A small embedding and a large last norm: what the layers add decides the logits, not the newest token.
    tensors = {"model.embed_tokens.weight": draw(0.5 * width**-0.5, case.vocabulary_size, width)}
    for index, kind in enumerate(case.layers):
        layer = f"model.layers.{index}"
        mixer, mlp = f"{layer}.temporal_block", f"{layer}.mlp_block"
        tensors[f"{layer}.temporal_pre_norm.weight"] = draw(0.5, width)
        tensors[f"{layer}.channel_pre_norm.weight"] = draw(0.5, width)
        if kind == "recurrent":
            tensors |= linear(f"{mixer}.linear_x", inner, width)
            tensors |= linear(f"{mixer}.linear_y", inner, width)
            tensors |= linear(f"{mixer}.linear_out", width, inner)
            tensors[f"{mixer}.conv_1d.weight"] = draw(1.0, inner, 1, case.conv_width)
            tensors[f"{mixer}.conv_1d.bias"] = draw(0.5, inner)
            tensors[f"{mixer}.rg_lru.recurrent_param"] = draw(2.0, inner, around=-4.0)
            for gate in ("input_gate", "recurrent_gate"):
                tensors[f"{mixer}.rg_lru.{gate}_weight"] = draw((3.0 / block) ** 0.5, heads, block, block)
                tensors[f"{mixer}.rg_lru.{gate}_bias"] = draw(1.0, heads, block)
        else:
            tensors |= linear(f"{mixer}.q_proj", width, width, bias=False)
            tensors |= linear(f"{mixer}.k_proj", case.num_key_value_heads * head_dim, width, bias=False)
            tensors |= linear(f"{mixer}.v_proj", case.num_key_value_heads * head_dim, width, bias=False)
            tensors |= linear(f"{mixer}.o_proj", width, width)
        tensors |= linear(f"{mlp}.gate_proj", case.mlp_width, width)
        tensors |= linear(f"{mlp}.up_proj", case.mlp_width, width)
        tensors |= linear(f"{mlp}.down_proj", width, case.mlp_width)
    return {**tensors, "model.final_norm.weight": draw(1.0, width, around=3.0)}
