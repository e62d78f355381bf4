"""The weights of a case by the names, and in the shapes, of DeepMind's Flax parameters. NumPy alone."""

import numpy as np

from parity.cases import weights

#: Linear maps of each kind of mixer, Hugging Face's name and DeepMind's.
LINEARS = {
    "recurrent": {"linear_x": "linear_x", "linear_y": "linear_y", "linear_out": "linear_out"},
    "attention": {"q_proj": "proj_q", "k_proj": "proj_k", "v_proj": "proj_v", "o_proj": "proj_final"},
}


def deepmind_weights(case):
    """Tensors by their path in DeepMind's tree, its parts joined by dots."""
    theirs = weights(case)
    tensors = {
        "embedder.input_embedding": theirs["model.embed_tokens.weight"],
        "final_norm.scale": theirs["model.final_norm.weight"],
    }
    for index, kind in enumerate(case.layers):
        prefix = f"model.layers.{index}."
        layer = {name.removeprefix(prefix): tensor for name, tensor in theirs.items() if name.startswith(prefix)}
        renamed = {**_norms(layer), **_mlp(layer), **_mixer(layer, kind)}
        tensors |= {f"blocks.{index}.{name}": tensor for name, tensor in renamed.items()}
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def _norms(layer):
    return {f"{name}.scale": layer[f"{name}.weight"] for name in ("temporal_pre_norm", "channel_pre_norm")}


def _mlp(layer):
    up = ("mlp_block.gate_proj", "mlp_block.up_proj")
    return {
        "mlp_block.ffw_up.w": np.stack([layer[f"{name}.weight"].T for name in up]),
        "mlp_block.ffw_up.b": np.stack([layer[f"{name}.bias"][None, None] for name in up]),
        "mlp_block.ffw_down.kernel": layer["mlp_block.down_proj.weight"].T,
        "mlp_block.ffw_down.bias": layer["mlp_block.down_proj.bias"],
    }


def _mixer(layer, kind):
    tensors = {}
    for source, target in LINEARS[kind].items():
        tensors[f"{target}.kernel"] = layer[f"temporal_block.{source}.weight"].T
        if f"temporal_block.{source}.bias" in layer:
            tensors[f"{target}.bias"] = layer[f"temporal_block.{source}.bias"]
    if kind == "recurrent":
        tensors["conv_1d.w"] = layer["temporal_block.conv_1d.weight"][:, 0].T
        tensors["conv_1d.b"] = layer["temporal_block.conv_1d.bias"]
        tensors["rg_lru.a_param"] = layer["temporal_block.rg_lru.recurrent_param"]
        for source, target in (("input_gate", "input_gate"), ("recurrent_gate", "a_gate")):
            tensors[f"rg_lru.{target}.w"] = layer[f"temporal_block.rg_lru.{source}_weight"]
            tensors[f"rg_lru.{target}.b"] = layer[f"temporal_block.rg_lru.{source}_bias"]
    return {f"{kind}_block.{name}": tensor for name, tensor in tensors.items()}
