"""Shared by the Pallas kernels for TPUs and GPUs: `linear_scan` around a kernel and the kernel of its gradient."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import keras
from jax import numpy as jnp

from keras_griffin.ops.linear_scan.components import Components
from keras_griffin.ops.linear_scan.marks import Marks, effective


class Operands(NamedTuple):
    """The arrays from which a kernel computes decay and inputs; inside the kernel, rows of them."""

    #: Any tree of `(B, T, D)`.
    sequences: object
    #: Any tree of `(D,)`.
    channels: object
    marks: Marks


def supports_on(device: str) -> Callable:
    """The `supports` of kernels for one kind of device."""
    names = {"tpu": "a TPU", "gpu": "a GPU"}

    def supports(facts) -> str | None:
        """All but float64, on one device."""
        if facts.device != device:
            return f"needs {names[device]}"
        if keras.distribution.distribution() is not None:
            # Only `shard_map` can: XLA refuses to divide a TPU kernel, and for a GPU kernel it gathers all arrays.
            return "can't be divided among devices by XLA"
        return "computes in float32" if facts.dtype == "float64" else None

    return supports


def differentiable(scan: Callable, scan_gradient: Callable) -> Callable:
    """The package's `linear_scan` around two functions of `jax_pallas_tpu_walk.py` or `jax_pallas_gpu_walk.py`."""

    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(4,))
    def linear_scan(
        decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        initial_state, _ = varying_with(inputs[0], initial_state)
        return with_gradient(decay, inputs, initial_state, marks, reverse)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
    def with_gradient(decay, inputs, initial_state, marks, reverse):
        return forward(decay, inputs, initial_state, marks, reverse)[0]

    def forward(decay, inputs, initial_state, marks, reverse):
        def load(rows):
            return effective(*rows.sequences, rows.marks, "float32")

        operands = Operands((decay, inputs), None, marks)
        results = scan("linear_scan", load, operands, initial_state, reverse, inputs[0].dtype)
        return results, (decay, results[0], initial_state, marks)

    def backward(reverse, kept, gradients):
        decay, states, initial_state, marks = kept

        def load(rows):
            return effective(rows.sequences, rows.sequences, rows.marks, "float32")[0]

        def finish(rows, into_decay, into_inputs):
            into_decay, into_inputs = _seen(into_decay, rows.marks.mask), _seen(into_inputs, rows.marks.mask)
            return (_kept(into_decay, rows.marks.reset), into_inputs), None

        operands, results = Operands(decay, None, marks), ((decay, states), None)
        (into_decay, into_inputs), _, into_start = scan_gradient(
            "linear_scan_gradient", load, finish, operands, states, initial_state, gradients, reverse, results
        )
        return into_decay, into_inputs, into_start, None

    with_gradient.defvjp(forward, backward)
    return linear_scan


def varying_with(sequence, states, channels=None):
    """Trees of `(B, D)` and of `(D,)`, unchanged except that they vary over the devices of `(B, T, D)`.

    Inside `shard_map` JAX then sums their gradients over the devices that hold copies of them.
    """
    nothing = 0.0 * jnp.isnan(sequence[:, 0]).astype(jnp.float32)
    states = jax.tree.map(lambda x: x + nothing.astype(x.dtype), states)
    return states, jax.tree.map(lambda x: x + nothing[0].astype(x.dtype), channels)


def _seen(gradient, mask):
    """Zero where a step is masked."""
    return gradient if mask is None else tuple(jnp.where(mask, g, 0.0) for g in gradient)


def _kept(gradient, reset):
    """Zero where a decay was replaced by zero."""
    return gradient if reset is None else tuple(jnp.where(reset, 0.0, g) for g in gradient)
