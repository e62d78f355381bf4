"""A language model inside JAX's `shard_map`, each device with its own stretch of the tokens."""

import jax
import keras
from jax import lax
from jax import numpy as jnp
from jax.sharding import PartitionSpec

from keras_griffin.distribution import jax_divided_time  # noqa: F401  Registers the rules of the ops.
from keras_griffin.distribution.jax_exchange import gathered, on_the_same_devices, steps_before
from keras_griffin.ops import linear_cross_entropy
from keras_griffin.ops.shared.time_axis import time_along
from keras_griffin.shapes import Tensor


def document_starts(segment_ids: Tensor, axis_name: str) -> tuple[Tensor, Tensor]:
    """Where documents start in `segment_ids (B, T)`, and where one continues after padding: two `(B, T)` bools.

    Padding counts as a document, whose outputs are unused.
    """
    # Above 0, so that the zero before the first step of all is a different id.
    own = segment_ids + 1
    ids = jnp.concatenate([steps_before(own, 1, axis_name), own], axis=1)
    starts = ids[:, 1:] != ids[:, :-1]
    return starts, starts & (segment_ids > 0) & (segment_ids == _newest_id(segment_ids, axis_name))


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


def vectors(model, token_ids: Tensor, segment_ids: Tensor, axis_name: str) -> Tensor:
    """The inputs of the output head, `(B, T, D)`; NaN where a document continues after padding."""
    starts, resumed = document_starts(segment_ids, axis_name)
    with time_along(axis_name):
        x = model.token_embedding(token_ids)
        for block in model.blocks:
            x = block(x, reset=starts)
        return jnp.where(resumed[..., None], jnp.nan, model.final_norm(x))


def divided_model(model, mesh, axis_name: str, batch_axis_name: str | None, logits: bool):
    """A compiled function of the variables' values, token ids and segment ids: the logits, or what `vectors` gives."""

    def on_each(values, token_ids, segment_ids):
        # The gradient of each weight is summed over the devices once, here.
        values = on_the_same_devices(values, axis_name, token_ids)
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            x = vectors(model, token_ids, segment_ids, axis_name)
            return model.token_embedding(x, reverse=True) if logits else x

    steps = PartitionSpec(batch_axis_name, axis_name)
    return jax.jit(jax.shard_map(on_each, mesh=mesh, in_specs=(PartitionSpec(), steps, steps), out_specs=steps))


def divided_cross_entropy(mesh, axis_name: str, batch_axis_name: str | None, soft_cap: float | None):
    """`linear_cross_entropy` of divided vectors `(B, T, D)`, a table `(V, D)` and targets `(B, T)`, as a function."""

    def on_each(x, table, targets):
        return linear_cross_entropy(x, table, targets, soft_cap=soft_cap)

    steps = PartitionSpec(batch_axis_name, axis_name)
    # The loop's sum starts from zeros that all devices share, and ends different on each.
    return jax.shard_map(on_each, mesh=mesh, in_specs=(steps, PartitionSpec(), steps), out_specs=steps, check_vma=False)
