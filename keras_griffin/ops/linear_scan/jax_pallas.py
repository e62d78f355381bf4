"""Shared by the Pallas kernels for TPUs and GPUs: `linear_scan` around a kernel and the kernel of its gradient."""

import functools
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import numpy as jnp

from keras_griffin.ops.jax_division import active_division, inside_shard_map, on_each_device
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
        """All but float64; on a GPU, as long as JAX has what compiles the kernels."""
        if facts.device != device:
            return f"needs {names[device]}"
        if facts.dtype == "float64":
            return "computes in float32"
        if device == "gpu" and not has_triton():
            return "needs jax.experimental.pallas.triton, which this JAX does not have"
        return None

    return supports


def has_triton() -> bool:
    """Whether Pallas can compile through Triton: JAX deprecated that in version 0.11, and will remove it."""
    return importlib.util.find_spec("jax.experimental.pallas.triton") is not None


def indices_of_32_bits():
    """A context in which to call a kernel: with `jax_enable_x64`, it would mix indices of 32 and 64 bits."""
    return jax.enable_x64(False)


def of_32_bits(arrays):
    """A tree of arrays in which float64 is float32, as kernels compute it; gradients come back as float64."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, arrays)


#: How the arrays of a scan are divided over devices; see `on_each_device`.
_SEQUENCE, _STATE, _OPERANDS = "b-c", "bc", Operands("b-c", "c", Marks("b--", "b--"))


def divided_scan(scan: Callable) -> Callable:
    """The `scan` of a walk, with one more argument: the division by which each device scans its rows and channels."""

    @functools.wraps(scan)
    def whole(name, load, operands, initial_state, reverse, dtype, *, division, **options):
        def part(operands, initial_state):
            return scan(name, load, operands, initial_state, reverse, dtype, **options)

        arguments, axes = (operands, initial_state), (_OPERANDS, _STATE)
        return on_each_device(part, division, initial_state[0].shape, arguments, axes, (_SEQUENCE, _STATE))

    return whole


def divided_gradient(scan_gradient: Callable) -> Callable:
    """The `scan_gradient` of a walk, with one more argument, as in `divided_scan`."""

    @functools.wraps(scan_gradient)
    def whole(name, load, finish, operands, states, initial_state, gradients, reverse, results, *, division, **options):
        def part(operands, states, initial_state, gradients):
            return scan_gradient(
                name, load, finish, operands, states, initial_state, gradients, reverse, results, **options
            )

        arguments = operands, states, initial_state, gradients
        axes = _OPERANDS, _SEQUENCE, _STATE, (_SEQUENCE, _STATE)
        sizes = gradients[1][0].shape
        return on_each_device(part, division, sizes, arguments, axes, (_SEQUENCE, _STATE, _STATE))

    return whole


def differentiable(scan: Callable, scan_gradient: Callable) -> Callable:
    """The package's `linear_scan` around two functions of `jax_pallas_tpu_walk.py` or `jax_pallas_gpu_walk.py`."""

    def linear_scan(
        decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        return compiled(decay, inputs, initial_state, marks, reverse, active_division())

    # Compiled once for each shape, even if the caller is not compiled.
    @functools.partial(jax.jit, static_argnums=(4, 5))
    def compiled(decay, inputs, initial_state, marks, reverse, division):
        decay, initial_state = of_32_bits((decay, initial_state))
        initial_state, _ = varying_with(inputs[0], initial_state)
        return with_gradient(decay, inputs, initial_state, marks, reverse, division)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
    def with_gradient(decay, inputs, initial_state, marks, reverse, division):
        return forward(decay, inputs, initial_state, marks, reverse, division)[0]

    def forward(decay, inputs, initial_state, marks, reverse, division):
        def load(rows):
            return effective(*rows.sequences, rows.marks, "float32")

        operands = Operands((decay, inputs), None, marks)
        results = scan("linear_scan", load, operands, initial_state, reverse, inputs[0].dtype, division=division)
        return results, (decay, results[0], initial_state, marks)

    def backward(reverse, division, kept, gradients):
        decay, states, initial_state, marks = kept

        def load(rows):
            return effective(rows.sequences, rows.sequences, rows.marks, "float32")[0]

        def finish(rows, into_decay, into_inputs):
            into_decay, into_inputs = _seen(into_decay, rows.marks.mask), _seen(into_inputs, rows.marks.mask)
            return (_kept(into_decay, rows.marks.reset), into_inputs), None

        operands, results = Operands(decay, None, marks), ((decay, states), None)
        (into_decay, into_inputs), _, into_start = scan_gradient(
            "linear_scan_gradient",
            load,
            finish,
            operands,
            states,
            initial_state,
            gradients,
            reverse,
            results,
            division=division,
        )
        return into_decay, into_inputs, into_start, None

    with_gradient.defvjp(forward, backward)
    return linear_scan


def varying_with(sequence, states, channels=None):
    """Trees of `(B, D)` and of `(D,)`, unchanged except that they vary over the devices of `(B, T, D)`.

    Inside `shard_map` JAX then sums their gradients over the devices that hold copies of them. Elsewhere nothing is to
    be done.
    """
    if not inside_shard_map():
        return states, channels
    nothing = 0.0 * jnp.isnan(sequence[:, 0]).astype(jnp.float32)
    states = jax.tree.map(lambda x: x + nothing.astype(x.dtype), states)
    return states, jax.tree.map(lambda x: x + nothing[0].astype(x.dtype), channels)


def _seen(gradient, mask):
    """Zero where a step is masked."""
    return gradient if mask is None else tuple(jnp.where(mask, g, 0.0) for g in gradient)


def _kept(gradient, reset):
    """Zero where a decay was replaced by zero."""
    return gradient if reset is None else tuple(jnp.where(reset, 0.0, g) for g in gradient)
