"""One mixer, a training step and one token, beside transformers' module of the same sizes in the same run.

    KERAS_BACKEND=torch python benchmarks/mixers.py

Sizes are those of a Qwen3-Next of width 1024, in float32 with random weights. A training step is forward and backward
for a batch of 2 rows of 1,024 tokens, with the gradients for inputs and weights; one token continues a state, for one
row. Ours is compiled on JAX and TensorFlow, and one token runs as in `generate`, which PyTorch replays; transformers is
PyTorch's, whatever the backend, by its slow path, the only one without a GPU.
"""

import importlib.util

import keras
import numpy as np
from timing import BACKEND, least_seconds

from keras_griffin import backends
from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.mixers import GatedDeltaNet

WIDTH, ROWS, LENGTH = 1024, 2, 1024
SIZES = {"num_heads": 8, "num_value_heads": 16, "head_dim": 128, "value_head_dim": 128}


def draw(rows, length):
    """Inputs."""
    return np.random.default_rng(0).normal(size=(rows, length, WIDTH)).astype("float32")


def ours():
    """Seconds of a training step, and of a token."""
    mixer = GatedDeltaNet(**SIZES)
    mixer.build((None, None, WIDTH))
    weights = [keras.ops.convert_to_tensor(weight) for weight in mixer.weights]

    def loss(inputs, *weights):
        with keras.StatelessScope(state_mapping=list(zip(mixer.weights, weights, strict=True))):
            return keras.ops.sum(keras.ops.square(mixer(inputs)))

    step = gradient_of(loss)
    training = least_seconds(step, keras.ops.convert_to_tensor(draw(ROWS, LENGTH)), *weights)
    token, state = keras.ops.convert_to_tensor(draw(1, 1)), mixer.initial_state(1)
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


def theirs():
    """The same of transformers' module."""
    import torch
    from transformers import DynamicCache, Qwen3NextConfig
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

    config = Qwen3NextConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        linear_num_key_heads=SIZES["num_heads"],
        linear_num_value_heads=SIZES["num_value_heads"],
        linear_key_head_dim=SIZES["head_dim"],
        linear_value_head_dim=SIZES["value_head_dim"],
    )
    module = Qwen3NextGatedDeltaNet(config, 0)
    inputs = torch.from_numpy(draw(ROWS, LENGTH)).requires_grad_()

    def step():
        outputs = module(inputs)
        return torch.autograd.grad(outputs.square().sum(), [inputs, *module.parameters()])

    cache, token = DynamicCache(config=config), torch.from_numpy(draw(1, 1))

    @torch.no_grad()
    def one_token():
        return module(token, cache=cache)

    with torch.no_grad():
        module(torch.from_numpy(draw(1, 8)), cache=cache)
    return least_seconds(step), least_seconds(one_token)


def main():
    """Print the table of the active backend."""
    print(f"\n### One mixer on {BACKEND}\n")
    print("| Gated DeltaNet | training step, ms | one token, ms |\n|---|---|---|")
    rows = {"ours": ours, "transformers": theirs}
    for name, measure in rows.items():
        if name == "transformers" and importlib.util.find_spec("transformers") is None:
            print("| transformers | not installed: not measured | |", flush=True)
            continue
        training, token = measure()
        print(f"| {name} | {1e3 * training:.0f} | {1e3 * token:.2f} |", flush=True)


if __name__ == "__main__":
    main()
