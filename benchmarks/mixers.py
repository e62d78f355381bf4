"""Mixers, a training step and one token, each beside another package's module of the same sizes in the same run.

    KERAS_BACKEND=torch python benchmarks/mixers.py [--mixers retention,mamba2]

In float32 with random weights, width 1024 (retention: 512, as the other package's values need four times the memory). A
training step is forward and backward for a batch of 2 rows of 1,024 tokens, with the gradients for inputs and weights;
one token continues a state, for one row. Ours is compiled on JAX and TensorFlow, and one token runs as in `generate`,
which PyTorch replays; theirs is PyTorch's, whatever the backend, by the only path without a GPU. Retention's is
yet-another-retnet's parallel form, and its recurrent form for one token; gateloop-transformer has none for one token.
flash-linear-attention's layers need a GPU, so its two rows compare the recurrence alone with the functions that it
judges its kernels by: 8 heads of 64 channels. Its package and xlstm's are never imported, only files of them.
"""

import argparse
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from timing import BACKEND, least_seconds

from keras_griffin import backends
from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.mixers import MLSTM, GatedDeltaNet, GateLoop, Mamba2, Retention
from keras_griffin.ops import gated_linear_attention

ROWS, LENGTH = 2, 1024


def draw(rows, length, width):
    """Inputs."""
    return np.random.default_rng(0).normal(size=(rows, length, width)).astype("float32")


def ours(mixer, width):
    """Seconds of a training step, and of a token."""
    mixer.build((None, None, width))
    weights = [keras.ops.convert_to_tensor(weight) for weight in mixer.weights]

    def loss(inputs, *weights):
        with keras.StatelessScope(state_mapping=list(zip(mixer.weights, weights, strict=True))):
            return keras.ops.sum(keras.ops.square(mixer(inputs)))

    training = least_seconds(gradient_of(loss), keras.ops.convert_to_tensor(draw(ROWS, LENGTH, width)), *weights)
    token, state = keras.ops.convert_to_tensor(draw(1, 1, width)), mixer.initial_state(1)
    advance = prepared(continued, mixer, is_step=True)

    def one_token():
        nonlocal state
        state, outputs = advance(state, token)
        return outputs

    return training, least_seconds(one_token)


def continued(mixer, state, token):
    """A function of the mixer, as those of the generation loop."""
    outputs, state = mixer.advance(token, state)
    return state, outputs


def gradient_of(loss):
    """A function of the gradients for all of its arguments."""
    if BACKEND == "jax":
        import jax

        return jax.jit(lambda *tensors: jax.grad(loss, tuple(range(len(tensors))))(*tensors))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def gradients(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = loss(*tensors)
            return tape.gradient(value, tensors)

        return tf.function(gradients, jit_compile=True)
    return lambda *tensors: backends.active().value_and_gradient(loss, tensors)[1]


def theirs(module, width, whole, one=None):
    """The same of a module of PyTorch's: `whole(inputs)` are the outputs, `one(token)` continues a state, if it can."""
    import torch

    inputs, token = (torch.from_numpy(draw(*shape, width)) for shape in ((ROWS, LENGTH), (1, 1)))
    inputs.requires_grad_()

    def step():
        return torch.autograd.grad(whole(inputs).square().sum(), [inputs, *module.parameters()])

    with torch.no_grad():
        one_token = one and least_seconds(one, token)
    return least_seconds(step), one_token


def of_qwen(width):
    """transformers' Gated DeltaNet, in Qwen3-Next."""
    import torch
    from transformers import DynamicCache, Qwen3NextConfig
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

    config = Qwen3NextConfig(
        hidden_size=width,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        linear_num_key_heads=8,
        linear_num_value_heads=16,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
    )
    module, cache = Qwen3NextGatedDeltaNet(config, 0), DynamicCache(config=config)
    with torch.no_grad():
        module(torch.from_numpy(draw(1, 8, width)), cache=cache)
    return theirs(module, width, module, lambda token: module(token, cache=cache))


def of_mamba2(width):
    """transformers' Mamba-2."""
    import torch
    from transformers import DynamicCache, Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    config = Mamba2Config(hidden_size=width, num_hidden_layers=1, num_heads=2 * width // 64, head_dim=64, n_groups=1)
    module, cache = Mamba2Mixer(config, 0), DynamicCache(config=config)
    with torch.no_grad():
        module(torch.from_numpy(draw(1, 8, width)), cache)
    return theirs(module, width, module, lambda token: module(token, cache))


def of_retnet(width):
    """yet-another-retnet's retention, with values of twice the width."""
    import torch
    from yet_another_retnet.retention import MultiScaleRetention

    heads = 4
    module = MultiScaleRetention(width, heads, bias=False)
    module.v_proj, module.g_proj = (torch.nn.Linear(width, 2 * width, bias=False) for _ in range(2))
    module.out_proj = torch.nn.Linear(2 * width, width, bias=False)
    module.group_norm = torch.nn.GroupNorm(heads, 2 * width, affine=False, eps=1e-6)
    state = torch.zeros(1, heads, width // heads, 2 * width // heads)

    def one(token):
        return module.forward_recurrent(*3 * (token[:, 0],), 1000, state)

    return theirs(module, width, lambda x: module(x, x, x)[0], one)


def of_gate_loop(width):
    """gateloop-transformer's layer, with a head for each channel, as ours."""
    from gateloop_transformer.gateloop_transformer import GateLoopedAttention

    module = GateLoopedAttention(width, checkpoint_gate_looped_attn=False)
    return theirs(module, width, module)


def of_xlstm(width):
    """xlstm's layer, without its package's imports."""
    import torch

    package = types.ModuleType("xlstm")
    package.__path__ = importlib.util.find_spec("xlstm").submodule_search_locations
    sys.modules["xlstm"] = package
    layer = importlib.import_module("xlstm.blocks.mlstm.layer")
    module = layer.mLSTMLayer(layer.mLSTMLayerConfig(embedding_dim=width, context_length=LENGTH))
    with torch.no_grad():
        _, state = module.step(torch.from_numpy(draw(1, 1, width)))
    return theirs(module, width, module, lambda token: module.step(token, **state))


HEADS, CHANNELS = 8, 64


def of_heads(has_decay):
    """Queries, keys, values and, with decays, their logarithms for each channel."""
    shape = ROWS, LENGTH, HEADS, CHANNELS
    arrays = [draw(ROWS, LENGTH, HEADS * CHANNELS).reshape(shape) for _ in range(3)]
    return arrays + [-np.abs(arrays[0])] * has_decay


def our_recurrence(has_decay):
    """Seconds of the outputs and all gradients."""
    tensors = map(keras.ops.convert_to_tensor, of_heads(has_decay))
    loss = gradient_of(lambda *tensors: keras.ops.sum(keras.ops.square(gated_linear_attention(*tensors)[0])))
    return least_seconds(loss, *tensors), None


def of_fla(has_decay):
    """The same of flash-linear-attention's function in PyTorch: chunks without a decay, a loop with one."""
    import torch

    (folder,) = importlib.util.find_spec("fla").submodule_search_locations
    recurrence, name = ("gla", "naive_recurrent_gla") if has_decay else ("linear_attn", "naive_chunk_linear_attn")
    spec = importlib.util.spec_from_file_location("naive", f"{folder}/ops/{recurrence}/naive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tensors = [torch.from_numpy(array).requires_grad_() for array in of_heads(has_decay)]

    def step():
        found = getattr(module, name)(*tensors)
        return torch.autograd.grad((found[0] if has_decay else found).square().sum(), tensors)

    return least_seconds(step), None


class Row(NamedTuple):
    """A mixer or recurrence: the seconds of a training step and of a token, of ours and of a package's."""

    package: str
    ours: Callable
    theirs: Callable


def of_mixer(package, make, peer, width=1024):
    """A row of a whole mixer."""
    return Row(package, lambda: ours(make(), width), lambda: peer(width))


def of_recurrence(has_decay):
    """A row of the recurrence alone."""
    return Row("fla", lambda: our_recurrence(has_decay), lambda: of_fla(has_decay))


MIXERS = {
    "gated_delta_net": of_mixer(
        "transformers", lambda: GatedDeltaNet(8, num_value_heads=16, head_dim=128, value_head_dim=128), of_qwen
    ),
    "mamba2": of_mixer("transformers", Mamba2, of_mamba2),
    "retention": of_mixer("yet_another_retnet", lambda: Retention(4, head_norm="layer"), of_retnet, 512),
    "gate_loop": of_mixer("gateloop_transformer", GateLoop, of_gate_loop),
    "mlstm": of_mixer("xlstm", lambda: MLSTM(4, num_blocks=512), of_xlstm),
    "linear_attention": of_recurrence(False),
    "gated_linear_attention": of_recurrence(True),
}


def main():
    """Print the table of the active backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixers", default=",".join(MIXERS), help="separated by commas (default: %(default)s)")
    names = parser.parse_args().mixers.split(",")
    print(f"\n### Mixers on {BACKEND}\n")
    print("| mixer | package | training step, ms | one token, ms |\n|---|---|---|---|")
    for name in names:
        row = MIXERS[name]
        packages = {"ours": row.ours}
        if importlib.util.find_spec(row.package):
            packages[row.package] = row.theirs
        for package, measure in packages.items():
            training, token = measure()
            of_token = "" if token is None else f"{1e3 * token:.2f}"
            print(f"| {name} | {package} | {1e3 * training:.0f} | {of_token} |", flush=True)
        if len(packages) == 1:
            print(f"| {name} | {row.package} | not installed: not measured | |", flush=True)


if __name__ == "__main__":
    main()
