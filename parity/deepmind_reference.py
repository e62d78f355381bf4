"""DeepMind's `recurrentgemma` as two references: its JAX and its PyTorch model, asked alike."""

import jax
import jax.numpy as jnp
import torch
from recurrentgemma import common
from recurrentgemma import jax as in_jax
from recurrentgemma import torch as in_torch
from recurrentgemma.conversion import flax_params_to_pytorch_state_dict
from recurrentgemma.jax import layers

from parity.deepmind_names import deepmind_weights

KINDS = {"recurrent": common.TemporalBlockType.RECURRENT, "attention": common.TemporalBlockType.ATTENTION}

_scan = layers.scan.linear_scan
# DeepMind asks XLA to write its loop over time out 128 times. The loop itself computes the same, and compiles sooner.
layers.scan.linear_scan = lambda *arrays, unroll, **options: _scan(*arrays, **options, unroll=1)


def config_of(case):
    """DeepMind's config of a case."""
    return common.GriffinConfig(
        vocab_size=case.vocabulary_size,
        width=case.width,
        mlp_expanded_width=case.mlp_width,
        num_heads=case.num_heads,
        block_types=tuple(KINDS[kind] for kind in case.layers),
        embeddings_scale_by_sqrt_dim=case.scale_embeddings,
        attention_window_size=case.window,
        logits_soft_cap=case.soft_cap,
        lru_width=case.recurrence_width,
    )


def flax_parameters(case, dtype="float32"):
    """The tree of parameters; a layer's key is one string with a dot in it."""
    tree = {}
    for name, tensor in deepmind_weights(case).items():
        *path, leaf = name.replace("blocks.", "blocks/", 1).split(".")
        node = tree
        for part in path:
            node = node.setdefault(part.replace("/", "."), {})
        node[leaf] = jnp.asarray(tensor, dtype)
    return tree


class DeepMindJAX:
    """The Flax model."""

    last_prompt_token_is_a_step = True

    def __init__(self, case):
        self.model = in_jax.Griffin(config_of(case), gradient_checkpointing=False)
        self.parameters = flax_parameters(case)
        self.apply = jax.jit(self.model.apply)

    def forward(self, tokens, positions, cache=None, keep=False):
        """Logits, and the cache. A position of -1 is padding."""
        return self.apply({"params": self.parameters}, jnp.asarray(tokens), jnp.asarray(positions), cache)

    def generate(self, prompts, max_new_tokens):
        """Prompts with their greedy continuations, by DeepMind's sampler."""
        sampler = in_jax.Sampler(self.model, Numbers(), self.parameters)
        return _sample(sampler, prompts, max_new_tokens)


class DeepMindTorch:
    """The PyTorch model."""

    last_prompt_token_is_a_step = True

    def __init__(self, case):
        self.model = in_torch.Griffin(config_of(case), gradient_checkpointing=False, dtype=torch.float32)
        self.model.load_state_dict(flax_params_to_pytorch_state_dict(flax_parameters(case)), strict=True)

    @torch.no_grad()
    def forward(self, tokens, positions, cache=None, keep=False):
        """Logits, and the cache. A position of -1 is padding."""
        logits, cache = self.model(torch.tensor(tokens), torch.tensor(positions), cache)
        return logits.numpy(), cache

    def generate(self, prompts, max_new_tokens):
        """Prompts with their greedy continuations, by DeepMind's sampler."""
        return _sample(in_torch.Sampler(self.model, Numbers()), prompts, max_new_tokens)


class Numbers:
    """A vocabulary whose text is its token ids; every text begins with id 2, and none ends."""

    def pad_id(self):
        return 0

    def bos_id(self):
        return 2

    def eos_id(self):
        return -1

    def EncodeAsIds(self, text):  # noqa: N802  The name that samplers call.
        return [int(word) for word in text.split()]

    def DecodeIds(self, ids):  # noqa: N802
        return " ".join(map(str, ids))


def _sample(sampler, prompts, max_new_tokens):
    texts = [" ".join(map(str, prompt[1:])) for prompt in prompts]
    # Without the echo, the samplers drop as many of a row's new tokens as the row had pads. Without the logits, that of
    # JAX takes no prompt of one token.
    return [row.tolist() for row in sampler(texts, max_new_tokens, echo=True, return_logits=True).tokens]
