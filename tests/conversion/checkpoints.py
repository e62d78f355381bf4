"""Small checkpoints with the weights of `parity`, whose names and shapes are the published code's."""

import json

import numpy as np

from keras_griffin.files.safetensors import StoredTensor, write_safetensors
from keras_griffin.models import LanguageModel
from keras_griffin.models.saving.weights import as_array
from parity.cases import CASES, huggingface_config, weights
from parity.deepmind_names import deepmind_weights
from parity.recurrent_families import FAMILIES, RECURRENT_CASES, recurrent_weights

MAMBA, MAMBA_OTHER, MAMBA2, MAMBA2_OTHER, RWKV = RECURRENT_CASES
#: A RecurrentGemma whose every number differs from its default.
OTHER = next(case for case in CASES if case.name == "other")
TOKEN_IDS = np.random.default_rng(1).integers(1, 45, (1, 19))


def config_of(case):
    """The `config.json` of a case, of `transformers`."""
    return {"model_type": case.family, **case.config} if case in RECURRENT_CASES else huggingface_config(case)


def weights_of(case):
    """The arrays of a case, by their names in `transformers`."""
    return recurrent_weights(case) if case in RECURRENT_CASES else weights(case)


def deepmind_torch_weights(case):
    """The arrays by their names in DeepMind's PyTorch code, whose linear layers are transposed."""
    return {
        name.replace(".kernel", ".weight"): array.T if name.endswith(".kernel") else array
        for name, array in deepmind_weights(case).items()
    }


def authors_config(case):
    """The `config.json` of a case, of the authors of Mamba."""
    return FAMILIES[case.family].authors_config(case.config)


def mamba_authors_weights(case=MAMBA):
    """Mamba's or Mamba-2's arrays with the authors' name of the embedding, and the head, its copy."""
    arrays, family = recurrent_weights(case), FAMILIES[case.family]
    table = arrays.pop(family.embedding)
    return {**arrays, family.authors_embedding: table, "lm_head.weight": table}


def rwkv_authors_weights():
    """RWKV-4's arrays by the authors' names."""
    names = {"rwkv.embeddings": "emb", "rwkv.": "", "attention": "att", "feed_forward": "ffn", "pre_ln": "ln0"}
    names |= {f"time_mix_{name}": f"time_mix_{name[0]}" for name in ("key", "value", "receptance")}
    arrays = {}
    for name, array in recurrent_weights(RWKV).items():
        for theirs, authors in names.items():
            name = name.replace(theirs, authors)
        arrays[name] = array
    return arrays


def write_folder(folder, case, config=None, changes=None, num_shards=1):
    """A folder as `transformers` saves it; `config` and `changes` replace its config and some of its arrays."""
    arrays = {**weights_of(case), **(changes or {})}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or config_of(case)))
    if num_shards == 1:
        write_safetensors(folder / "model.safetensors", arrays, {"format": "pt"})
        return folder
    weight_map = {name: f"{index % num_shards}.safetensors" for index, name in enumerate(arrays)}
    for file in set(weight_map.values()):
        write_safetensors(folder / file, {name: arrays[name] for name in arrays if weight_map[name] == file})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def stored(arrays):
    """Arrays, or shapes of tensors that are not to be read, as a checkpoint's tensors."""
    return {
        name: StoredTensor(array, np.dtype("float32"), None)
        if isinstance(array, tuple)
        else StoredTensor(array.shape, array.dtype, lambda array=array: array)
        for name, array in arrays.items()
    }


def bits(model):
    """A model's variables, bit by bit."""
    return {variable.path: (variable.dtype, as_array(variable).tobytes()) for variable in model.weights}


def forbid_building(monkeypatch):
    """Fail where a model is built."""

    def building(*_, **__):
        raise AssertionError("A model is built.")

    monkeypatch.setattr(LanguageModel, "__init__", building)
