"""Save a model so that Hugging Face's `transformers` loads it."""

import json
import os
from collections.abc import Callable

from keras_griffin.conversion.mamba import MAMBA, MAMBA2
from keras_griffin.conversion.namings import HUGGING_FACE, MAMBA_HUGGING_FACE, RWKV_HUGGING_FACE, Naming
from keras_griffin.conversion.recurrentgemma import write_config
from keras_griffin.conversion.rwkv import PATTERN, write_rwkv_config
from keras_griffin.files.atomic import atomic_folder
from keras_griffin.files.safetensors import StoredTensor, write_safetensors
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.models.saving.preset_files import CONFIG, FILES, WEIGHTS, check_saveable
from keras_griffin.models.saving.weights import stored

RECURRENT_GEMMA = HUGGING_FACE, write_config
#: By the mixers of a pattern, the names of its tensors and what writes its config; every other pattern is a
#: RecurrentGemma's, or refused.
FAMILIES = {
    **{frozenset({each.mixer_name}): (MAMBA_HUGGING_FACE, each.write_config) for each in (MAMBA, MAMBA2)},
    frozenset(PATTERN): (RWKV_HUGGING_FACE, write_rwkv_config),
}


def save_huggingface(model: LanguageModel, directory: str | os.PathLike) -> None:
    """Save a model as `transformers` does: `config.json`, `model.safetensors` and the tokenizer's files.

    The weights keep the dtype of the model's variables; `load_recurrentgemma`, `load_mamba`, `load_mamba2` or
    `load_rwkv` restores them bit by bit. For this, the scale of a norm of Mamba, which is stored here minus one, is
    written in a wider dtype where it needs more bits. The folder is replaced atomically.

    Args:
        model: a `RecurrentGemmaForCausalLM`: of recurrent blocks and local attention, with scaled embeddings and a soft
            cap; a `MambaForCausalLM` or `Mamba2ForCausalLM`: of `mamba` or `mamba2` blocks without an MLP; or a
            `RwkvForCausalLM`: of `rwkv4` and `rwkv4_channel` in turn, with layer norms.
        directory: a folder that this function may replace, or a new path.

    Raises:
        ValueError: `transformers` does not support the model, the model is quantised or has LoRA, the path is a file,
            or the folder has other contents.
    """
    check_saveable("save_huggingface", model)
    _, write = family_of(model.config)
    config = write(model.config, model.variable_dtype)
    tokenizer = model.tokenizer
    stop_ids = [] if tokenizer is None else list(tokenizer.stop_ids)
    config |= {
        "pad_token_id": None if tokenizer is None else tokenizer.pad_id,
        "bos_token_id": None if tokenizer is None else tokenizer.start_id,
        "eos_token_id": stop_ids[0] if len(stop_ids) == 1 else stop_ids or None,
    }
    with atomic_folder(directory, replaces=FILES, function_name="save_huggingface") as folder:
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        # `transformers` requires the metadata.
        write_safetensors(folder / WEIGHTS, foreign_tensors(model), {"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(folder)


def foreign_tensors(model: LanguageModel) -> dict[str, StoredTensor]:
    """The model's weights by their names in `transformers`, converted on demand."""
    variables = {variable.path: stored(variable) for variable in model.weights}
    tensors = {}
    naming, _ = family_of(model.config)
    for name, (layout, paths) in naming.tensors(model.config.mixer_names).items():
        parts = [variables[path] for path in paths]
        join = _join(layout, parts)
        dtype = join().dtype if layout.may_widen else parts[0].dtype
        tensors[name] = StoredTensor(layout.shape(*(part.shape for part in parts)), dtype, join)
    return tensors


def family_of(config: GriffinConfig) -> tuple[Naming, Callable[[GriffinConfig, str], dict]]:
    """The names of the tensors, and what writes the config, of the family that a model is saved as."""
    return FAMILIES.get(frozenset(config.mixer_names), RECURRENT_GEMMA)


def _join(layout, parts):
    return lambda: layout.join(*(part.read() for part in parts))
