"""The families of models without attention: tiny cases, as their checkpoints say them. NumPy alone.

A family is a row of `FAMILIES`: what writes its weights and its configs, what loads them, and what its reference is
known to get wrong. Questions, references and judgements are the same for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from parity.questions import REFUSES, WRONG, Question, draw_tokens, padding, segments

#: The questions of a short case: one pass, steps and greedy tokens.
SHORT = 3


class Family(NamedTuple):
    """One architecture of `transformers`."""

    #: The class in `transformers`, and the `model_type` of its config.
    architecture: str
    model_type: str
    #: The function of `keras_griffin.conversion`.
    loader: str
    #: The argument and the field of the output in which a call takes and returns the state.
    state: str
    #: The name of the embedding's table, which is also the head's, or None for a family with a head of its own.
    embedding: str | None
    #: Random weights by their names in `transformers`: `weights(config, draw)`.
    weights: Callable[..., dict]
    #: By question, the fault of `transformers`.
    faults: dict
    #: The config of the authors' code for one of `transformers`, and the authors' name of the embedding's table.
    authors_config: Callable[[dict], dict] | None = None
    authors_embedding: str | None = None


@dataclass(frozen=True)
class RecurrentCase:
    """One model. `config` is what its `config.json` says besides the family."""

    name: str
    family: str
    seed: int
    config: dict = field(hash=False)
    stored: str = "float32"
    #: Whether the authors' config can say all of it.
    for_authors: bool = True
    #: Whether only the first questions are asked.
    is_short: bool = False

    @property
    def vocabulary_size(self):
        """V."""
        return self.config["vocab_size"]


def recurrent_weights(case):
    """Random weights by their names in `transformers`, float32 (numbers of `case.stored`'s precision)."""
    generator = np.random.default_rng(case.seed)

    def draw(bound, *shape, around=0.0):
        values = (around + bound * (2.0 * generator.random(shape) - 1.0)).astype("float32")
        if case.stored == "bfloat16":
            # The upper half of a float32 is a bfloat16.
            values = (values.view("uint32") & 0xFFFF0000).view("float32")
        return values

    return FAMILIES[case.family].weights(case.config, draw)


def recurrent_questions(case):
    """All questions about one case; the prompts have 11 of 21 tokens."""
    generator = np.random.default_rng(1000 + case.seed)
    length, prompt = 21, 11

    def draw(columns):
        return draw_tokens(generator, case, 4, columns)

    long, rectangle = draw(length), draw(prompt)
    # The last document of a prompt has 1, 2, 3 and 4 tokens; none of the convolution's taps may cross its start.
    packed = [segments(prompt - last, length - prompt + last) for last in (1, 2, 3, 4)]
    left = [padding(length, prompt - real) for real in (2, 3, 4, prompt)]
    right = [[1] * real + [0] * (prompt - real) + [1] * (length - prompt) for real in (2, 3, 4, prompt)]
    ragged = [row[:real] for row, real in zip(draw(prompt), (2, 2, 3, prompt), strict=True)]
    asked = (
        Question("one pass", "whole", long),
        Question("prompt, then steps", "steps", long, prefill=prompt),
        Question("greedy", "generate", rectangle),
        Question("a prompt in two chunks", "chunks", long, prefill=prompt),
        Question("packed documents", "whole", draw(length), packed),
        Question("steps after left padding", "steps", draw(length), left, prompt),
        Question("steps after right padding", "steps", draw(length), right, prompt),
        Question("greedy, ragged", "generate", ragged),
    )
    faults = FAMILIES[case.family].faults
    for question in asked:
        if question.what in faults:
            question.faults["transformers"] = faults[question.what]
    return list(asked[:SHORT] if case.is_short else asked)


def _mamba_weights(config, draw):
    """Mamba's. Each tap of a convolution weighs as much as the others, and rates and steps are of many sizes."""
    width, states, taps = config["hidden_size"], config["state_size"], config["conv_kernel"]
    inner, rank = config["expand"] * width, config["time_step_rank"]

    def linear(outputs, inputs):
        return draw((3.0 / inputs) ** 0.5, outputs, inputs)

    def mixer():
        return {
            "in_proj.weight": linear(2 * inner, width),
            "conv1d.weight": draw(1.0, inner, 1, taps),
            "conv1d.bias": draw(0.5, inner),
            "x_proj.weight": linear(rank + 2 * states, inner),
            "dt_proj.weight": linear(inner, rank),
            "dt_proj.bias": draw(1.5, inner, around=-2.0),
            "A_log": draw(1.0, inner, states),
            "D": draw(1.0, inner),
            "out_proj.weight": linear(width, inner),
        }

    return _of_mixers(config, draw, mixer)


def _mamba2_weights(config, draw):
    """Mamba-2's, of as many sizes."""
    width, taps = config["hidden_size"], config["conv_kernel"]
    inner, heads = config["expand"] * width, config["num_heads"]
    convolved = inner + 2 * config["n_groups"] * config["state_size"]

    def mixer():
        return {
            "in_proj.weight": draw((3.0 / width) ** 0.5, inner + convolved + heads, width),
            "conv1d.weight": draw(1.0, convolved, 1, taps),
            "conv1d.bias": draw(0.5, convolved),
            "dt_bias": draw(1.5, heads, around=-2.0),
            "A_log": draw(1.0, heads),
            "D": draw(1.0, heads),
            "norm.weight": draw(0.4, inner, around=1.0),
            "out_proj.weight": draw((3.0 / inner) ** 0.5, width, inner),
        }

    return _of_mixers(config, draw, mixer)


def _of_mixers(config, draw, mixer):
    """A model's weights, with those of each layer's mixer."""
    width = config["hidden_size"]
    # A small embedding and a large last norm: what the layers add decides the logits, not the newest token. Scales are
    # above 1/2, so that no bit is lost when they are stored minus one.
    tensors = {"backbone.embeddings.weight": draw(0.5 * width**-0.5, config["vocab_size"], width)}
    for index in range(config["num_hidden_layers"]):
        layer = f"backbone.layers.{index}"
        tensors[f"{layer}.norm.weight"] = draw(0.4, width, around=1.0)
        tensors |= {f"{layer}.mixer.{name}": array for name, array in mixer().items()}
    return {**tensors, "backbone.norm_f.weight": draw(1.0, width, around=2.5)}


def _mamba2_authors_config(config):
    layer = {"layer": "Mamba2", "headdim": config["head_dim"], "d_state": config["state_size"]}
    return {
        **_mamba_authors_config(config),
        "ssm_cfg": layer,
        "d_intermediate": 0,
        "attn_layer_idx": [],
        "attn_cfg": {},
    }


def _mamba_authors_config(config):
    return {
        "d_model": config["hidden_size"],
        "n_layer": config["num_hidden_layers"],
        # Padded to the table's rows.
        "vocab_size": config["vocab_size"] - 3,
        "pad_vocab_size_multiple": 8,
        "ssm_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
    }


def _rwkv_weights(config, draw):
    """RWKV-4's. Decays are of many sizes, and keys of both signs large enough that few of them decide an average."""
    width, inner = config["hidden_size"], config["intermediate_size"]

    def linear(outputs, inputs, scale=1.0):
        return draw(scale * (3.0 / inputs) ** 0.5, outputs, inputs)

    def norm(name, around=1.0):
        return {f"{name}.weight": draw(0.4, width, around=around), f"{name}.bias": draw(0.3, width)}

    tensors = {
        "rwkv.embeddings.weight": draw(1.0, config["vocab_size"], width),
        **norm("rwkv.blocks.0.pre_ln"),
    }
    for index in range(config["num_hidden_layers"]):
        block = f"rwkv.blocks.{index}"
        tensors |= norm(f"{block}.ln1") | norm(f"{block}.ln2")
        for half, names in (("attention", ("key", "value", "receptance")), ("feed_forward", ("key", "receptance"))):
            for name in names:
                tensors[f"{block}.{half}.time_mix_{name}"] = draw(0.5, 1, 1, width, around=0.5)
        tensors |= {
            f"{block}.attention.time_decay": draw(3.0, width, around=-1.0),
            f"{block}.attention.time_first": draw(1.0, width),
            f"{block}.attention.key.weight": linear(width, width, scale=3.0),
            f"{block}.attention.value.weight": linear(width, width),
            f"{block}.attention.receptance.weight": linear(width, width),
            f"{block}.attention.output.weight": linear(width, width),
            f"{block}.feed_forward.key.weight": linear(inner, width),
            f"{block}.feed_forward.receptance.weight": linear(width, width),
            f"{block}.feed_forward.value.weight": linear(width, inner),
        }
    return {**tensors, **norm("rwkv.ln_out", 2.0), "head.weight": linear(config["vocab_size"], width)}


FAMILIES = {
    "mamba": Family(
        "MambaForCausalLM",
        "mamba",
        "load_mamba",
        "cache",
        "backbone.embeddings.weight",
        _mamba_weights,
        # A call with several tokens starts its recurrence at zero, padding on the right decays the state, and nothing
        # separates documents.
        dict.fromkeys(("a prompt in two chunks", "packed documents", "steps after right padding"), WRONG),
        _mamba_authors_config,
        "backbone.embedding.weight",
    ),
    "mamba2": Family(
        "Mamba2ForCausalLM",
        "mamba2",
        "load_mamba2",
        "cache",
        "backbone.embeddings.weight",
        _mamba2_weights,
        # Padding on the right decays the state, and nothing separates documents.
        dict.fromkeys(("packed documents", "steps after right padding"), WRONG),
        _mamba2_authors_config,
        "backbone.embedding.weight",
    ),
    "rwkv": Family(
        "RwkvForCausalLM",
        "rwkv",
        "load_rwkv",
        "state",
        None,
        _rwkv_weights,
        # A step of several rows mixes them, into logits of another shape, and nothing separates documents.
        {
            **dict.fromkeys(("prompt, then steps", "steps after left padding", "steps after right padding"), REFUSES),
            **dict.fromkeys(("greedy", "greedy, ragged", "packed documents"), WRONG),
        },
    ),
}
_MAMBA = {
    "vocab_size": 48,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "state_size": 16,
    "expand": 2,
    "conv_kernel": 4,
    "time_step_rank": 2,
    "layer_norm_epsilon": 1e-5,
}
_MAMBA2 = {
    "vocab_size": 48,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "state_size": 16,
    "expand": 2,
    "conv_kernel": 4,
    "num_heads": 6,
    "head_dim": 8,
    "n_groups": 1,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
}
RECURRENT_CASES = (
    # As the released models.
    RecurrentCase("mamba", "mamba", 1, _MAMBA, "bfloat16"),
    # Every number is away from its default.
    RecurrentCase(
        "mamba other",
        "mamba",
        2,
        {
            **_MAMBA,
            **{"hidden_size": 20, "state_size": 5, "expand": 3, "conv_kernel": 3},
            **{"time_step_rank": 4, "layer_norm_epsilon": 1e-2},
        },
        for_authors=False,
        is_short=True,
    ),
    RecurrentCase("mamba2", "mamba2", 1, _MAMBA2, "bfloat16"),
    # Groups, and every number away from its default.
    RecurrentCase(
        "mamba2 other",
        "mamba2",
        2,
        {
            **_MAMBA2,
            **{"hidden_size": 20, "state_size": 5, "expand": 3, "conv_kernel": 3},
            **{"num_heads": 12, "head_dim": 5, "n_groups": 3, "layer_norm_epsilon": 1e-2},
        },
        for_authors=False,
        is_short=True,
    ),
    RecurrentCase(
        *("rwkv", "rwkv", 3),
        {
            **{"vocab_size": 48, "hidden_size": 24, "num_hidden_layers": 3, "intermediate_size": 96},
            # Otherwise `transformers` divides weights in place.
            "rescale_every": 0,
        },
        "bfloat16",
        for_authors=False,
    ),
)
