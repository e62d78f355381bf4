"""A training step of a whole Griffin, compared with transformers and DeepMind's code.

    KERAS_BACKEND=jax python benchmarks/model.py

Vocabulary 256, width 256, six layers, MLP 768, four heads of 64, recurrence width 256, window 128; 4 rows of 512 tokens
in float32. A peer is measured if its package can be imported: transformers on PyTorch, recurrentgemma on JAX. Its
training step is forward and backward only; ours includes the optimizer.
"""

import importlib.util
import time

import keras
import numpy as np
from timing import BACKEND, least_seconds

from keras_griffin.models import Griffin, GriffinConfig

CONFIG = GriffinConfig(
    vocabulary_size=256,
    width=256,
    num_layers=6,
    num_heads=4,
    recurrence_width=256,
    window=128,
    num_gate_blocks=4,
    scale_embeddings=True,
    logits_soft_cap=30.0,
)
TOKENS = np.random.default_rng(0).integers(0, 256, (4, 513)).astype("int32")


def ours():
    """Yield (name, seconds) for this package: a step of `train_on_batch`."""
    model = Griffin(CONFIG)
    model.compile(keras.optimizers.SGD(1e-3), model.loss, jit_compile=BACKEND != "torch")
    start = time.perf_counter()
    model.train_on_batch(TOKENS[:, :-1], TOKENS[:, 1:])
    yield "first training step, compilation included", time.perf_counter() - start
    yield "training step", least_seconds(model.train_on_batch, TOKENS[:, :-1], TOKENS[:, 1:], budget=10)


def transformers_model(config=CONFIG):
    """The same model in transformers, with a recurrence of the model's width: its decoding fails with a wider one."""
    from transformers import RecurrentGemmaForCausalLM

    return RecurrentGemmaForCausalLM(transformers_config(config, config.width))


def transformers_config(config, recurrence_width):
    """The config of transformers for a model of our config's sizes."""
    from transformers import RecurrentGemmaConfig

    return RecurrentGemmaConfig(
        num_hidden_layers=config.num_layers,
        vocab_size=config.vocabulary_size,
        hidden_size=config.width,
        intermediate_size=2 * config.mlp_width,
        num_attention_heads=config.num_heads,
        num_key_value_heads=1,
        lru_width=recurrence_width,
        attention_window_size=config.window,
        head_dim=config.head_dim or config.width // config.num_heads,
    )


def transformers_on_torch():
    """Forward and backward with transformers."""
    import torch

    model = transformers_model()
    tokens = torch.tensor(TOKENS[:, :-1], dtype=torch.long)

    def step():
        model.zero_grad()
        model(tokens, labels=tokens, use_cache=False).loss.backward()

    yield "training step", least_seconds(step, budget=10)


def deepmind_model(config=CONFIG):
    """The same model in DeepMind's code, with its default scan and random parameters.

    Its recurrence has the model's width, as in transformers: its gates need one that the number of heads divides.
    """
    import jax
    import jax.numpy as jnp
    from recurrentgemma import jax as recurrentgemma
    from recurrentgemma.common import GriffinConfig as DeepMindConfig
    from recurrentgemma.common import ScanType, TemporalBlockType

    kinds = {"recurrent": TemporalBlockType.RECURRENT, "local_mqa": TemporalBlockType.ATTENTION}
    model = recurrentgemma.Griffin(
        DeepMindConfig(
            vocab_size=config.vocabulary_size,
            width=config.width,
            mlp_expanded_width=config.mlp_width,
            num_heads=config.num_heads,
            lru_width=config.width,
            block_types=tuple(kinds[name] for name in config.mixer_names),
            embeddings_scale_by_sqrt_dim=config.scale_embeddings,
            attention_window_size=config.window,
            logits_soft_cap=config.logits_soft_cap or 0.0,
            scan_type=ScanType.AUTO,
        )
    )
    some = jnp.zeros((1, 2), "int32")
    return model, model.init(jax.random.key(0), some, jnp.arange(2)[None])


def deepmind_step(model, tokens):
    """A compiled function of the parameters, forward and backward. Targets are the inputs: the cost is the same."""
    import jax
    import jax.numpy as jnp

    tokens, positions = jnp.asarray(tokens), jnp.tile(jnp.arange(tokens.shape[1]), (tokens.shape[0], 1))

    def loss(parameters):
        logits = model.apply(parameters, tokens, positions)[0]
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1))

    return jax.jit(jax.value_and_grad(loss))


def deepmind_on_jax():
    """Forward and backward with DeepMind's code, with its default scan."""
    import jax

    model, parameters = deepmind_model()
    start = time.perf_counter()
    step = deepmind_step(model, TOKENS[:, :-1])
    jax.block_until_ready(step(parameters))
    yield "first training step, compilation included", time.perf_counter() - start
    yield "training step", least_seconds(step, parameters, budget=10)


PEERS = {"torch": ("transformers", transformers_on_torch), "jax": ("recurrentgemma", deepmind_on_jax)}


def main():
    """Print the table of the active backend."""
    print(f"\n### Model on {BACKEND}\n\n| what | seconds |\n|---|---|")
    times = {}
    for what, seconds in ours():
        times[what] = seconds
        print(f"| {what} | {seconds:.4f} |", flush=True)
    package, peer = PEERS.get(BACKEND, (None, None))
    if package is None:
        return
    if importlib.util.find_spec(package) is None:
        print(f"\n{package} is not installed: not measured.")
        return
    for what, seconds in peer():
        print(f"| {package}, {what} | {seconds:.4f} |", flush=True)
        if what in times:
            print(f"| ours / {package}, {what} | {times[what] / seconds:.3f} |", flush=True)


if __name__ == "__main__":
    main()
