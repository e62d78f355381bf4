"""Read and write the `config.json` of an RWKV-4 for `transformers`, or infer sizes from its authors' checkpoints."""

from collections.abc import Mapping
from typing import NoReturn

from keras_griffin.checks import COUNT
from keras_griffin.conversion.foreign import refuse_config
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
    """The model that a `config.json` describes.

    Args:
        raw: the parsed JSON.

    Returns:
        The `GriffinConfig`, with two residual blocks for each of theirs.

    Raises:
        ValueError: it is of a different model, or this package does not support it.
    """
    if raw.get("model_type") != "rwkv":
        _refuse("model_type must be 'rwkv'", raw.get("model_type"))
    values = {**DEFAULTS, **raw}
    for name in ("vocab_size", "hidden_size", "num_hidden_layers"):
        if not COUNT.holds(values[name]):
            _refuse(f"{name} must be an integer of at least 1", values[name])
    width = values["hidden_size"]
    inner = 4 * width if values["intermediate_size"] is None else values["intermediate_size"]
    if values["attention_hidden_size"] not in (None, width):
        _refuse(f"attention_hidden_size must be hidden_size, {width}", values["attention_hidden_size"])
    if not COUNT.holds(inner) or inner % width:
        _refuse(f"intermediate_size must be a multiple of hidden_size, {width}", inner)
    # The last norm of `transformers` has this epsilon whatever the config says.
    if values["layer_norm_epsilon"] != 1e-5:
        _refuse("layer_norm_epsilon must be 1e-05", values["layer_norm_epsilon"])
    if values["tie_word_embeddings"]:
        _refuse("tie_word_embeddings must be false", values["tie_word_embeddings"])
    return rwkv4_config(values["vocab_size"], width, values["num_hidden_layers"], inner // width)


def infer_rwkv_config(tensors: Mapping[str, StoredTensor]) -> GriffinConfig:
    """The sizes of a checkpoint of the authors' code, which has no config.

    Args:
        tensors: those of the checkpoint.

    Raises:
        ValueError: the shapes do not fit.
    """
    vocabulary_size, width = _matrix(tensors, "emb.weight")
    inner, _ = _matrix(tensors, "blocks.0.ffn.key.weight")
    if inner % width:
        raise ValueError(f"{NAME}: blocks.0.ffn.key.weight must have a multiple of {width} rows. Got {inner}.")
    num_layers = sum(name.endswith(".att.time_decay") for name in tensors)
    return rwkv4_config(vocabulary_size, width, max(num_layers, 1), inner // width)


def write_rwkv_config(config: GriffinConfig, dtype: str) -> dict:
    """A `config.json` of `transformers`.

    Args:
        config: of a model whose mixers are `rwkv4` and `rwkv4_channel`.
        dtype: of its variables.

    Returns:
        The contents, without the ids of special tokens.

    Raises:
        ValueError: `transformers` does not support the model; the message names the field.
    """
    alternates = config.num_layers % 2 == 0 and config.mixer_names == PATTERN * (config.num_layers // 2)
    for holds, rule, received in (
        (alternates, "the layers must be rwkv4 and rwkv4_channel in turn", ", ".join(config.mixer_names)),
        (config.mlp_width == 0, "mlp_width must be 0", config.mlp_width),
        (not config.scale_embeddings, "scale_embeddings must be False", config.scale_embeddings),
        (config.logits_soft_cap is None, "logits_soft_cap must be None", config.logits_soft_cap),
        (config.norm == "layer", "norm must be layer", config.norm),
        (config.norm_epsilon == 1e-5, "norm_epsilon must be 1e-05", config.norm_epsilon),
        (config.embedding_norm, "embedding_norm must be True", config.embedding_norm),
        (not config.tie_embeddings, "tie_embeddings must be False", config.tie_embeddings),
    ):
        if not holds:
            raise ValueError(f"save_huggingface: {rule} for transformers' RWKV. Got {received}.")
    expand = RWKV4Channel(**config.mixer_arguments("rwkv4_channel")).expand
    return {
        "architectures": ["RwkvForCausalLM"],
        "model_type": "rwkv",
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.width,
        "attention_hidden_size": config.width,
        "intermediate_size": expand * config.width,
        "num_hidden_layers": config.num_layers // 2,
        "layer_norm_epsilon": config.norm_epsilon,
        "context_length": 1024,
        "rescale_every": 6,
        "tie_word_embeddings": False,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def _matrix(tensors, name) -> tuple[int, int]:
    if name not in tensors or len(tensors[name].shape) != 2:
        got = tuple(tensors[name].shape) if name in tensors else "none"
        raise ValueError(f"{NAME}: the checkpoint must have a tensor {name} with 2 axes. Got {got}.")
    return tuple(tensors[name].shape)


def _refuse(rule, received) -> NoReturn:
    refuse_config(NAME, rule, received)
