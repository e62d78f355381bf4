"""Read and write the `config.json` of an RWKV-4 for `transformers`, or infer sizes from its authors' checkpoints."""

from collections.abc import Mapping

from keras_griffin.checks import COUNT
from keras_griffin.conversion.config_entries import Entries, common_entries, require_fields, require_saveable
from keras_griffin.conversion.foreign import shape_of
from keras_griffin.files.safetensors import StoredTensor
from keras_griffin.mixers import RWKV4Channel
from keras_griffin.models import GriffinConfig
from keras_griffin.models.presets import rwkv4_config

NAME = "load_rwkv"
#: The defaults of `transformers`.
DEFAULTS = {
    "vocab_size": 50277,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "attention_hidden_size": None,
    "intermediate_size": None,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": False,
}
PATTERN = ("rwkv4", "rwkv4_channel")


def read_rwkv_config(raw: Mapping) -> GriffinConfig:
    """The model that a `config.json` describes, with two residual blocks for each of theirs."""
    entries = Entries(NAME, {**DEFAULTS, **raw})
    entries.require_values(model_type="rwkv")
    entries.require_counts("vocab_size", "hidden_size", "num_hidden_layers")
    width = entries["hidden_size"]
    inner = 4 * width if entries["intermediate_size"] is None else entries["intermediate_size"]
    is_width = entries["attention_hidden_size"] in (None, width)
    entries.require(is_width, "attention_hidden_size", f"must be hidden_size, {width}")
    is_multiple = COUNT.holds(inner) and inner % width == 0
    entries.require(is_multiple, "intermediate_size", f"must be a multiple of hidden_size, {width}")
    # The last norm of `transformers` has this epsilon whatever the config says.
    entries.require_values(layer_norm_epsilon=1e-5, tie_word_embeddings=False)
    return rwkv4_config(entries["vocab_size"], width, entries["num_hidden_layers"], inner // width)


def infer_rwkv_config(tensors: Mapping[str, StoredTensor]) -> GriffinConfig:
    """The sizes of a checkpoint of the authors' code, which has no config."""
    vocabulary_size, width = shape_of(NAME, tensors, "emb.weight", 2)
    inner, _ = shape_of(NAME, tensors, "blocks.0.ffn.key.weight", 2)
    if inner % width:
        raise ValueError(f"{NAME}: blocks.0.ffn.key.weight must have a multiple of {width} rows. Got {inner}.")
    num_layers = sum(name.endswith(".att.time_decay") for name in tensors)
    return rwkv4_config(vocabulary_size, width, max(num_layers, 1), inner // width)


def write_rwkv_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` of `transformers`, without the ids of special tokens, for a model of `PATTERN`."""
    family = "transformers' RWKV"
    alternates = config.num_layers % 2 == 0 and config.mixer_names == PATTERN * (config.num_layers // 2)
    rule = "the layers must be rwkv4 and rwkv4_channel in turn"
    require_saveable(alternates, rule, family, ", ".join(config.mixer_names))
    fields = {"mlp_width": 0, "scale_embeddings": False, "logits_soft_cap": None, "norm": "layer"}
    require_fields(config, family, **fields, norm_epsilon=1e-5, embedding_norm=True, tie_embeddings=False)
    expand = RWKV4Channel(**config.mixer_arguments("rwkv4_channel")).expand
    return {
        **common_entries("RwkvForCausalLM", "rwkv", config, dtype),
        "attention_hidden_size": config.width,
        "intermediate_size": expand * config.width,
        "num_hidden_layers": config.num_layers // 2,
        "layer_norm_epsilon": config.norm_epsilon,
        "context_length": 1024,
        "rescale_every": 6,
        "tie_word_embeddings": False,
    }
