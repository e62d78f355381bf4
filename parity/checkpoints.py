"""The weights of a case, written by the packages themselves in every format that is in use."""

import json

import numpy as np
import orbax.checkpoint
import torch
import transformers
from recurrentgemma.conversion import flax_params_to_pytorch_state_dict
from safetensors.torch import save_file
from transformers import RecurrentGemmaConfig, RecurrentGemmaForCausalLM

from parity.cases import huggingface_config, weights
from parity.deepmind_names import deepmind_weights
from parity.deepmind_reference import flax_parameters
from parity.recurrent_families import FAMILIES, recurrent_weights


def write_huggingface(case, folder):
    """`huggingface`: one file and the config of today; `huggingface_old`: shards, the head, the config of 2024."""
    dtype = getattr(torch, case.stored)
    tensors = {name: torch.tensor(tensor).to(dtype) for name, tensor in weights(case).items()}
    model = RecurrentGemmaForCausalLM(RecurrentGemmaConfig(**huggingface_config(case))).to(dtype)
    model.load_state_dict({**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"]}, strict=True)
    model.save_pretrained(folder / "huggingface")
    old = folder / "huggingface_old"
    model.save_pretrained(old, max_shard_size="16KB")
    _add_head(old, tensors["model.embed_tokens.weight"])
    (old / "config.json").write_text(json.dumps(_old_config(json.loads((old / "config.json").read_text()))))


def write_recurrent(case, folder):
    """`huggingface`, by `transformers`; `authors`: a `pytorch_model.bin` and a config as the authors' code has them."""
    family, dtype = FAMILIES[case.family], getattr(torch, case.stored)
    tensors = {name: torch.tensor(tensor).to(dtype) for name, tensor in recurrent_weights(case).items()}
    head = {} if family.embedding is None else {"lm_head.weight": tensors[family.embedding]}
    cls = getattr(transformers, family.architecture)
    model = cls(cls.config_class(**case.config)).to(dtype)
    model.load_state_dict({**tensors, **head}, strict=True)
    model.save_pretrained(folder / "huggingface")
    if case.for_authors:
        (folder / "authors").mkdir()
        embedding = {family.authors_embedding: tensors.pop(family.embedding)}
        torch.save({**tensors, **embedding, **head}, folder / "authors" / "pytorch_model.bin")
        (folder / "authors" / "config.json").write_text(json.dumps(family.authors_config(case.config)))


def _add_head(folder, embedding):
    """Old checkpoints also hold the tied head."""
    save_file({"lm_head.weight": embedding.clone()}, folder / "head.safetensors", {"format": "pt"})
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["lm_head.weight"] = "head.safetensors"
    path.write_text(json.dumps(index))


def _old_config(config):
    """A config as transformers 4 wrote it: rotation at the top level, `torch_dtype`, a null for what has a default."""
    rotation = config.pop("rope_parameters")
    config["rope_theta"], config["partial_rotary_factor"] = rotation["rope_theta"], rotation["partial_rotary_factor"]
    config["torch_dtype"] = config.pop("dtype")
    config["_block_types"] = config["block_types"]
    if tuple(config["block_types"]) == ("recurrent", "recurrent", "attention"):
        del config["block_types"]
    if config["lru_width"] == config["hidden_size"]:
        config["lru_width"] = None
    return config


def write_deepmind(case, folder):
    """`deepmind.pt`, `deepmind_orbax`, and flat files of the Flax tree and of PyTorch's names."""
    parameters = flax_parameters(case, case.stored)
    state = flax_params_to_pytorch_state_dict(parameters)
    torch.save(state, folder / "deepmind.pt")
    orbax.checkpoint.PyTreeCheckpointer().save((folder / "deepmind_orbax").absolute(), {"params": parameters})
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "deepmind.safetensors")
    np.savez(folder / "deepmind.npz", **deepmind_weights(case))
