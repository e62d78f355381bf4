"""Small checkpoints with random weights under the names of each implementation, and what they must compute.

The names, shapes and equations are written out here once more, from the published code, so that the tables of
`keras_griffin.conversion` are not their own witness.
"""

import json
import types

import ml_dtypes
import numpy as np
import pytest

from keras_griffin.files.safetensors import write_safetensors

V, D, M, L, H, LAYERS, WINDOW = 260, 32, 40, 48, 4, 5, 5
CONFIG = {
    "model_type": "recurrent_gemma",
    "architectures": ["RecurrentGemmaForCausalLM"],
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": 2 * M,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": H,
    "num_key_value_heads": 1,
    "lru_width": L,
    "attention_window_size": WINDOW,
    "conv1d_width": 4,
    "logits_soft_cap": 4.0,
    "rms_norm_eps": 1e-5,
    "hidden_activation": "gelu_pytorch_tanh",
    "block_types": ["recurrent", "recurrent", "attention"],
    "rope_parameters": {"rope_theta": 500.0, "partial_rotary_factor": 0.5, "rope_type": "default"},
    "bos_token_id": 2,
}
#: A Mamba whose every number differs from its default: width, channels, numbers of a channel's state, rank, taps.
MAMBA_D, MAMBA_E, MAMBA_N, MAMBA_R, MAMBA_K = 24, 72, 5, 3, 3
MAMBA_CONFIG = {
    "model_type": "mamba",
    "architectures": ["MambaForCausalLM"],
    "vocab_size": V,
    "hidden_size": MAMBA_D,
    "intermediate_size": MAMBA_E,
    "num_hidden_layers": 3,
    "state_size": MAMBA_N,
    "expand": 3,
    "conv_kernel": MAMBA_K,
    "time_step_rank": MAMBA_R,
    "layer_norm_epsilon": 1e-3,
    "hidden_act": "silu",
    "use_bias": False,
    "use_conv_bias": True,
}
#: The same for the authors' code, whose epsilon is 1e-5, with a vocabulary that it pads to V.
MAMBA_AUTHORS_CONFIG = {
    "d_model": MAMBA_D,
    "n_layer": 3,
    "vocab_size": V - 2,
    "pad_vocab_size_multiple": 4,
    "ssm_cfg": {"d_state": MAMBA_N, "expand": 3, "d_conv": MAMBA_K, "dt_rank": MAMBA_R},
    "rms_norm": True,
    "residual_in_fp32": True,
    "fused_add_norm": True,
}


def is_attention(layer):
    return layer % 3 == 2


def huggingface_shapes(layers=LAYERS, kv=1):
    shapes = {"model.embed_tokens.weight": (V, D), "model.final_norm.weight": (D,)}
    for n in range(layers):
        block = {
            "temporal_pre_norm.weight": (D,),
            "channel_pre_norm.weight": (D,),
            "mlp_block.gate_proj.weight": (M, D),
            "mlp_block.gate_proj.bias": (M,),
            "mlp_block.up_proj.weight": (M, D),
            "mlp_block.up_proj.bias": (M,),
            "mlp_block.down_proj.weight": (D, M),
            "mlp_block.down_proj.bias": (D,),
        }
        if is_attention(n):
            block |= {
                "temporal_block.q_proj.weight": (D, D),
                "temporal_block.k_proj.weight": (kv * D // H, D),
                "temporal_block.v_proj.weight": (kv * D // H, D),
                "temporal_block.o_proj.weight": (D, D),
                "temporal_block.o_proj.bias": (D,),
            }
        else:
            block |= {
                "temporal_block.linear_x.weight": (L, D),
                "temporal_block.linear_x.bias": (L,),
                "temporal_block.linear_y.weight": (L, D),
                "temporal_block.linear_y.bias": (L,),
                "temporal_block.linear_out.weight": (D, L),
                "temporal_block.linear_out.bias": (D,),
                "temporal_block.conv_1d.weight": (L, 1, 4),
                "temporal_block.conv_1d.bias": (L,),
                "temporal_block.rg_lru.recurrent_param": (L,),
                "temporal_block.rg_lru.input_gate_weight": (H, L // H, L // H),
                "temporal_block.rg_lru.input_gate_bias": (H, L // H),
                "temporal_block.rg_lru.recurrent_gate_weight": (H, L // H, L // H),
                "temporal_block.rg_lru.recurrent_gate_bias": (H, L // H),
            }
        shapes |= {f"model.layers.{n}.{name}": shape for name, shape in block.items()}
    return shapes


def huggingface_weights(dtype="float32", **sizes):
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in huggingface_shapes(**sizes).items():
        fan_in = shape[-1] if len(shape) > 1 and "gate_weight" not in name else 4
        scale = 0.5 if len(shape) == 1 else fan_in**-0.5
        shift = -2.0 if name.endswith("recurrent_param") else 0.0
        weights[name] = (shift + scale * rng.standard_normal(shape)).astype(dtype)
    return weights


def mamba_weights(embedding="embeddings", dtype="float32"):
    """Mamba's names; `embedding` is `"embeddings"`, as in `transformers`, or `"embedding"`, as in the authors' code."""
    shapes = {f"backbone.{embedding}.weight": (V, MAMBA_D), "backbone.norm_f.weight": (MAMBA_D,)}
    for n in range(3):
        block = {
            "norm.weight": (MAMBA_D,),
            "mixer.A_log": (MAMBA_E, MAMBA_N),
            "mixer.D": (MAMBA_E,),
            "mixer.in_proj.weight": (2 * MAMBA_E, MAMBA_D),
            "mixer.conv1d.weight": (MAMBA_E, 1, MAMBA_K),
            "mixer.conv1d.bias": (MAMBA_E,),
            "mixer.x_proj.weight": (MAMBA_R + 2 * MAMBA_N, MAMBA_E),
            "mixer.dt_proj.weight": (MAMBA_E, MAMBA_R),
            "mixer.dt_proj.bias": (MAMBA_E,),
            "mixer.out_proj.weight": (MAMBA_D, MAMBA_E),
        }
        shapes |= {f"backbone.layers.{n}.{name}": shape for name, shape in block.items()}
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in shapes.items():
        scale = 0.5 if len(shape) == 1 or name.endswith("A_log") else shape[-1] ** -0.5
        array = scale * rng.standard_normal(shape)
        # Scales from 1/2 are the same numbers, to the last bit, when they are stored minus one.
        weights[name] = (0.5 + np.abs(array) if "norm" in name else array).astype(dtype)
    return weights


def expected_mamba_logits(weights, token_ids, epsilon=1e-3):
    """Mamba's logits `(T, V)` of one row, in float64, step by step."""
    weights = {name: array.astype("float64") for name, array in weights.items()}
    embedding = next(array for name, array in weights.items() if name.startswith("backbone.embedding"))
    x = embedding[token_ids]
    for n in range(3):
        prefix = f"backbone.layers.{n}."
        w = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
        # `_norm` has scales minus one.
        projected = _norm(x, w["norm.weight"] - 1.0, epsilon) @ w["mixer.in_proj.weight"].T
        inner, gate = projected[:, :MAMBA_E], projected[:, MAMBA_E:]
        padded = np.concatenate([np.zeros((MAMBA_K - 1, MAMBA_E)), inner])
        taps, bias = w["mixer.conv1d.weight"][:, 0].T, w["mixer.conv1d.bias"]
        u = _silu(np.array([np.sum(padded[t : t + MAMBA_K] * taps, 0) + bias for t in range(len(x))]))
        selected = u @ w["mixer.x_proj.weight"].T
        step, b, c = np.split(selected, [MAMBA_R, MAMBA_R + MAMBA_N], -1)
        step = np.log1p(np.exp(step @ w["mixer.dt_proj.weight"].T + w["mixer.dt_proj.bias"]))
        hidden, outputs = np.zeros((MAMBA_E, MAMBA_N)), []
        for t in range(len(x)):
            decay = np.exp(-step[t][:, None] * np.exp(w["mixer.A_log"]))
            hidden = decay * hidden + (step[t] * u[t])[:, None] * b[t]
            outputs.append(hidden @ c[t] + w["mixer.D"] * u[t])
        x = x + (np.array(outputs) * _silu(gate)) @ w["mixer.out_proj.weight"].T
    return _norm(x, weights["backbone.norm_f.weight"] - 1.0, epsilon) @ embedding.T


def deepmind_weights(huggingface, linear):
    """DeepMind's names; `linear` is `"kernel"`, as in Flax, or `"weight"`, as in PyTorch."""

    def put(theirs, ours):
        matrix = huggingface[f"{ours}.weight"]
        weights[f"{theirs}.{linear}"] = matrix.T if linear == "kernel" else matrix
        if f"{ours}.bias" in huggingface:
            weights[f"{theirs}.bias"] = huggingface[f"{ours}.bias"]

    weights = {
        "embedder.input_embedding": huggingface["model.embed_tokens.weight"],
        "final_norm.scale": huggingface["model.final_norm.weight"],
    }
    for n in range(LAYERS):
        ours, theirs = f"model.layers.{n}", f"blocks.{n}"
        for norm in ("temporal_pre_norm", "channel_pre_norm"):
            weights[f"{theirs}.{norm}.scale"] = huggingface[f"{ours}.{norm}.weight"]
        gate, up = (f"{ours}.mlp_block.{name}" for name in ("gate_proj", "up_proj"))
        weights[f"{theirs}.mlp_block.ffw_up.w"] = np.stack([huggingface[f"{x}.weight"].T for x in (gate, up)])
        weights[f"{theirs}.mlp_block.ffw_up.b"] = np.stack([huggingface[f"{x}.bias"][None, None] for x in (gate, up)])
        put(f"{theirs}.mlp_block.ffw_down", f"{ours}.mlp_block.down_proj")
        ours = f"{ours}.temporal_block"
        if is_attention(n):
            for name, foreign in {"q": "proj_q", "k": "proj_k", "v": "proj_v", "o": "proj_final"}.items():
                put(f"{theirs}.attention_block.{foreign}", f"{ours}.{name}_proj")
            continue
        theirs = f"{theirs}.recurrent_block"
        for name in ("linear_x", "linear_y", "linear_out"):
            put(f"{theirs}.{name}", f"{ours}.{name}")
        weights[f"{theirs}.conv_1d.w"] = huggingface[f"{ours}.conv_1d.weight"][:, 0].T
        weights[f"{theirs}.conv_1d.b"] = huggingface[f"{ours}.conv_1d.bias"]
        weights[f"{theirs}.rg_lru.a_param"] = huggingface[f"{ours}.rg_lru.recurrent_param"]
        for name, foreign in {"recurrent_gate": "a_gate", "input_gate": "input_gate"}.items():
            weights[f"{theirs}.rg_lru.{foreign}.w"] = huggingface[f"{ours}.rg_lru.{name}_weight"]
            weights[f"{theirs}.rg_lru.{foreign}.b"] = huggingface[f"{ours}.rg_lru.{name}_bias"]
    return weights


def expected_logits(weights, token_ids, *, window=WINDOW, cap=4.0, epsilon=1e-5, base=500.0):
    """RecurrentGemma's logits `(T, V)` of one row, in float64, step by step."""
    weights = {name: array.astype("float64") for name, array in weights.items()}
    embedding = weights["model.embed_tokens.weight"]
    x = embedding[token_ids] * float(ml_dtypes.bfloat16(D**0.5))
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("model.layers."))
    for n in range(layers):
        w = {name.removeprefix(f"model.layers.{n}."): array for name, array in weights.items()}
        mix = _attend if is_attention(n) else _recur
        temporal = {name.removeprefix("temporal_block."): array for name, array in w.items()}
        x = x + mix(temporal, _norm(x, w["temporal_pre_norm.weight"], epsilon), window, base)
        y = _norm(x, w["channel_pre_norm.weight"], epsilon)
        gate, up = (_linear(w, f"mlp_block.{name}", y) for name in ("gate_proj", "up_proj"))
        x = x + _linear(w, "mlp_block.down_proj", _gelu(gate) * up)
    logits = _norm(x, weights["model.final_norm.weight"], epsilon) @ embedding.T
    return cap * np.tanh(logits / cap)


def _linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def _norm(x, scale, epsilon):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + epsilon) * (1.0 + scale)


def _gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def _silu(x):
    return x * _sigmoid(x)


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _recur(w, x, window, base):
    gate = _gelu(_linear(w, "linear_y", x))
    padded = np.concatenate([np.zeros((3, L)), _linear(w, "linear_x", x)])
    taps = w["conv_1d.weight"][:, 0]
    conv = [np.sum(padded[t : t + 4] * taps.T, 0) + w["conv_1d.bias"] for t in range(len(x))]
    hidden, outputs = np.zeros(L), []
    for t, inputs in enumerate(conv):
        blocks = inputs.reshape(H, L // H)
        a_gate, i_gate = (
            _sigmoid(np.einsum("hi,hij->hj", blocks, w[f"rg_lru.{g}_gate_weight"]) + w[f"rg_lru.{g}_gate_bias"]).ravel()
            for g in ("recurrent", "input")
        )
        log_a = -8.0 * a_gate * np.log1p(np.exp(w["rg_lru.recurrent_param"]))
        multiplier = np.sqrt(1.0 - np.exp(2.0 * log_a)) if t else 1.0
        hidden = (np.exp(log_a) if t else 0.0) * hidden + multiplier * i_gate * inputs
        outputs.append(hidden)
    return _linear(w, "linear_out", gate * np.array(outputs))


def _attend(w, x, window, base):
    width = D // H
    q, k, v = (_linear(w, f"{name}_proj", x) for name in "qkv")
    kv = k.shape[-1] // width
    k, v = (np.repeat(array.reshape(-1, kv, width), H // kv, 1) for array in (k, v))
    q, k = (np.array([_rotate(step, t, base) for t, step in enumerate(y.reshape(-1, H, width))]) for y in (q, k))
    outputs = []
    for t in range(len(x)):
        seen = slice(max(0, t - window + 1), t + 1)
        scores = np.einsum("hc,shc->hs", q[t], k[seen]) / np.sqrt(width)
        probabilities = np.exp(scores - scores.max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        outputs.append(np.einsum("hs,shc->hc", probabilities, v[seen]).ravel())
    return _linear(w, "o_proj", np.array(outputs))


def _rotate(heads, position, base):
    """The first half of each head's channels, by pairs a quarter apart."""
    quarter = heads.shape[-1] // 4
    angles = position * base ** (-np.arange(quarter) / quarter)
    first, second, rest = heads[:, :quarter], heads[:, quarter : 2 * quarter], heads[:, 2 * quarter :]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin, rest], -1)


def write_huggingface(folder, weights, config=CONFIG, num_shards=1):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if num_shards == 1:
        write_safetensors(folder / "model.safetensors", weights, {"format": "pt"})
        return folder
    names = [f"model-{i + 1:05}-of-{num_shards:05}.safetensors" for i in range(num_shards)]
    weight_map = {name: names[i % num_shards] for i, name in enumerate(weights)}
    for file in names:
        write_safetensors(folder / file, {name: weights[name] for name in weights if weight_map[name] == file})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


@pytest.fixture(scope="session")
def checkpoints():
    """The helpers, for tests, which can't import from one another."""
    helpers = (
        *(huggingface_weights, deepmind_weights, expected_logits, write_huggingface),
        *(mamba_weights, expected_mamba_logits),
    )
    return types.SimpleNamespace(
        config=CONFIG,
        mamba_config=MAMBA_CONFIG,
        mamba_authors_config=MAMBA_AUTHORS_CONFIG,
        **{helper.__name__: helper for helper in helpers},
    )


@pytest.fixture
def huggingface_folder(tmp_path):
    return write_huggingface(tmp_path / "huggingface", huggingface_weights())
