"""Scans on JAX with a gradient of their own, as one compiled function; those of kernels over devices."""

import functools
from collections.abc import Callable

import jax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.marks import Marks, with_marks_applied
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.shared.jax_division import active_division, on_each_device, varying_with
from keras_griffin.shapes import Tensor

#: How the arrays are divided over devices; see `on_each_device`.
SEQUENCE, STATE, MARKS = "b-c", "bc", Marks("b--", "b--")


def with_gradient(forward: Callable, backward: Callable) -> Callable:
    """A compiled function of `(tensors, options)`, the second a tuple of hashable values.

    Args:
        forward: `(tensors, *options) -> (results, kept)`.
        backward: `(kept, gradients, *options)`; returns the gradients for the tensors, None for marks.
    """

    @functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
    def call(tensors, options):
        return forward(tensors, *options)[0]

    call.defvjp(
        lambda tensors, options: forward(tensors, *options),
        lambda options, kept, gradients: (backward(kept, gradients, *options),),
    )
    # Compiled once for each shape, even if the caller is not compiled.
    return jax.jit(call, static_argnums=(1,))


def differentiable(scan: Callable, scan_gradient: Callable) -> Callable:
    """The `linear_scan` of an implementation, with marks handled by `with_marks_applied`; see `InPlace` for both."""

    def forward(tensors, reverse):
        results = scan(*tensors, reverse)
        return results, _kept(tensors, results)

    def backward(kept, gradients, reverse):
        return *scan_gradient(*kept, gradients, reverse), None

    call = with_gradient(forward, backward)

    @with_marks_applied
    def linear_scan(
        decay: Components, inputs: Components, initial_state: Components, forgotten: Tensor | None, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        return call((decay, inputs, initial_state, forgotten), (reverse,))

    return linear_scan


def on_devices(
    scan: Callable, scan_gradient: Callable, keep: Callable, arguments: tuple, results: tuple, into: tuple
) -> Callable:
    """A function of `(tensors, options)`, as from `with_gradient`, around kernels in float32, over devices.

    Args:
        scan: `(*tensors, *options)`; returns outputs, final state, and perhaps more for the gradient.
        scan_gradient: `(*kept, gradients, *options)`; returns the gradients for the tensors but the last, the marks.
            That for a tensor of the first argument may have one more axis in front, to be summed over: a kernel can't
            add up what its programs compute in any order, or on other devices.
        keep: `(tensors, results) -> kept`.
        arguments: the tensors' axes; see `on_each_device`.
        results: the axes of what `scan` returns.
        into: the axes of what `scan_gradient` returns.
    """

    def forward(tensors, division, *options):
        run = lambda *tensors: scan(*tensors, *options)  # noqa: E731
        found = on_each_device(run, division, _sizes(tensors), tensors, arguments, results)
        return found[:2], keep(tensors, found)

    def backward(kept, gradients, division, *options):
        run = lambda *given: scan_gradient(*given, *options)  # noqa: E731
        axes = *keep(arguments, results), results[:2]
        parts, *others = on_each_device(run, division, _sizes(kept), (*kept, gradients), axes, into)
        return jax.tree.map(_summed, parts, kept[0]), *others, None

    call = with_gradient(forward, backward)
    return lambda tensors, options: call(_of_32_bits(tensors), (active_division(), *options))


def of_kernels(scan: Callable, scan_gradient: Callable) -> Callable:
    """The `linear_scan` of an implementation whose kernels handle marks; the arguments are those of `on_devices`."""
    arguments, into = (SEQUENCE, SEQUENCE, STATE, MARKS), (SEQUENCE, SEQUENCE, STATE)
    call = on_devices(scan, scan_gradient, _kept, arguments, (SEQUENCE, STATE), into)

    def linear_scan(
        decay: Components, inputs: Components, initial_state: Components, marks: Marks, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        initial_state, _ = varying_with(inputs[0], initial_state)
        return call((decay, inputs, initial_state, marks), (reverse,))

    return linear_scan


def _kept(tensors, results):
    """Decay, states, initial state, and marks."""
    return tensors[0], results[0], *tensors[2:]


def _sizes(tensors):
    """The numbers of rows and of channels of the first array, a sequence."""
    return jax.tree.leaves(tensors)[0].shape[::2]


def _summed(parts, like):
    return parts if parts.ndim == like.ndim else jnp.sum(parts, axis=0).astype(like.dtype)


def _of_32_bits(arrays):
    """A tree of arrays in which float64 is float32, as kernels compute it; gradients come back as float64."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, arrays)
