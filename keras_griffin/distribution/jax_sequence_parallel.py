"""A language model inside of JAX's `shard_map`, each device with its own stretch of the tokens."""

from typing import NamedTuple

import jax
import keras
from jax import lax
from jax import numpy as jnp
from jax.sharding import PartitionSpec

from keras_griffin.distribution.jax_divided_time import of_newest_document, rg_lru, with_steps_before
from keras_griffin.distribution.jax_exchange import gathered, on_the_same_devices, steps_before
from keras_griffin.layers import TemporalConvState, project
from keras_griffin.mixers import MIXERS, LocalMQA, RecurrentBlock
from keras_griffin.ops import linear_cross_entropy, local_attention
from keras_griffin.shapes import Tensor


class Documents(NamedTuple):
    """Where documents start, on one device. Padding is a document too, which nobody reads."""

    #: `(B, T)` bool: the first step of a document, and of the whole sequence.
    reset: Tensor
    #: `(B, reach + T)` int32: a number for each document, also of the steps before the device's own.
    numbers: Tensor
    #: `(B, T)` bool: a document goes on here that padding has interrupted.
    resumed: Tensor

    def numbers_from(self, count: int) -> Tensor:
        """The numbers `(B, count + T)` from so many steps before the device's own."""
        return self.numbers[:, self.numbers.shape[1] - self.reset.shape[1] - count :]


def find_documents(segment_ids: Tensor, reach: int, axis_name: str) -> Documents:
    """The documents of `segment_ids (B, T)`, as far back as the model's layers look."""
    # Above 0, so that the steps before the first of all, zeros, have an id of their own.
    own = segment_ids + 1
    ids = jnp.concatenate([steps_before(own, reach + 1, axis_name), own], axis=1)
    starts = ids[:, 1:] != ids[:, :-1]
    numbers, own = jnp.cumsum(starts.astype("int32"), axis=1), starts[:, reach:]
    return Documents(own, numbers, own & (segment_ids > 0) & (segment_ids == _newest_id(segment_ids, axis_name)))


def _newest_id(segment_ids, axis_name):
    """The newest positive id before each step, on whichever device; 0 before the first."""
    steps = jnp.arange(1, segment_ids.shape[1] + 1)
    newest = jnp.pad(lax.cummax(jnp.where(segment_ids > 0, steps, 0), axis=1), [(0, 0), (1, 0)])
    own = jnp.take_along_axis(jnp.pad(segment_ids, [(0, 0), (1, 0)]), newest, axis=1)
    ((lasts,),) = gathered(((own[:, -1],),), axis_name)

    def newer(device, id):
        return jnp.where(lasts[device] > 0, lasts[device], id)

    carried = lax.fori_loop(0, lax.axis_index(axis_name), newer, jnp.zeros_like(own[:, -1]))
    return jnp.where(own[:, :-1] > 0, own[:, :-1], carried[:, None])


def recurrent_block(block: RecurrentBlock, inputs: Tensor, documents: Documents, axis_name: str) -> Tensor:
    """What `RecurrentBlock.call` gives; the first step of the whole sequence is a reset."""
    gate = keras.activations.gelu(project(block.gate, inputs), approximate=True)
    branch = project(block.input_projection, inputs)
    history = steps_before(branch, block.conv.kernel_size - 1, axis_name)
    if history.shape[1]:
        numbers = documents.numbers_from(history.shape[1])[:, : history.shape[1]]
        history = of_newest_document(history, numbers)
    branch, _ = block.conv.advance(branch, TemporalConvState(history), reset=documents.reset)
    unit = block.rg_lru
    logits, channels = (unit.input_gate(branch), unit.recurrence_gate(branch)), (unit.decay_parameter.value, None)
    flags = {"reset": documents.reset, "mask": None}
    (branch,), _ = rg_lru(branch, logits, channels, None, unit.exponent, axis_name, flags, False)
    return project(block.output_projection, gate * branch)


def local_mqa(mixer: LocalMQA, inputs: Tensor, documents: Documents, axis_name: str) -> Tensor:
    """What `LocalMQA.call` gives; positions count from the first key that this device looks at."""
    query, key, value = mixer.project(inputs)
    count = min(mixer.window - 1, (lax.axis_size(axis_name) - 1) * key.shape[1])
    key, value = with_steps_before((key, value), count, axis_name)
    positions = jnp.arange(key.shape[1], dtype="int32")
    query, key = mixer.rotate(query, positions[count:]), mixer.rotate(key, positions)
    numbers = documents.numbers_from(count)
    return mixer.join(local_attention(query, key, value, mixer.window, segment_ids=numbers))


#: How each mixer mixes over divided time. One that looks at all steps so far can't be among them.
MIX = {RecurrentBlock: recurrent_block, LocalMQA: local_mqa}


def vectors(model, token_ids: Tensor, segment_ids: Tensor, axis_name: str) -> Tensor:
    """What the head makes logits of, `(B, T, D)`; NaN where a document goes on that padding has interrupted."""
    config = model.config
    reach = max(MIXERS[name].reach_of(**config.mixer_arguments(name)) for name in config.mixer_names)
    documents = find_documents(segment_ids, reach, axis_name)
    x = model.token_embedding(token_ids)
    for block in model.blocks:

        def residual(x, documents, block=block):
            x, *_ = block.prepare(x)
            x = x + MIX[type(block.mixer)](block.mixer, block.mixer_norm(x), documents, axis_name)
            return x + block.mlp(block.mlp_norm(x))

        x = (jax.checkpoint(residual) if block.rematerialize else residual)(x, documents)
    return jnp.where(documents.resumed[..., None], jnp.nan, model.final_norm(x))


def divided_model(model, mesh, axis_name: str, batch_axis_name: str | None, logits: bool):
    """The model's logits, or what the head would make them of, compiled.

    Returns:
        A function of the values of the model's variables, `token_ids (B, T)` and `segment_ids (B, T)`.
    """

    def on_each(values, token_ids, segment_ids):
        # The gradient of each weight is summed over the devices once, here.
        values = on_the_same_devices(values, axis_name, token_ids)
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            x = vectors(model, token_ids, segment_ids, axis_name)
            return model.token_embedding(x, reverse=True) if logits else x

    steps = PartitionSpec(batch_axis_name, axis_name)
    return jax.jit(jax.shard_map(on_each, mesh=mesh, in_specs=(PartitionSpec(), steps, steps), out_specs=steps))


def divided_cross_entropy(mesh, axis_name: str, batch_axis_name: str | None, soft_cap: float | None):
    """`linear_cross_entropy` of divided vectors: nobody gets another one's.

    Returns:
        A function of the vectors `(B, T, D)`, the table `(V, D)` and the targets `(B, T)`.
    """

    def on_each(x, table, targets):
        return linear_cross_entropy(x, table, targets, soft_cap=soft_cap)

    steps = PartitionSpec(batch_axis_name, axis_name)
    # The loop's sum starts from zeros that are everybody's, and ends as each device's own.
    return jax.shard_map(on_each, mesh=mesh, in_specs=(steps, PartitionSpec(), steps), out_specs=steps, check_vma=False)
