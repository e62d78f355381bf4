"""The dense projections of Griffin's blocks, with the initialisation of its released code."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_griffin import backends
from keras_griffin.checks import COUNT, FLAG, POSITIVE, Rule, checked
from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.ops.row_product import row_product
from keras_griffin.shapes import Tensor

#: Where a PyTorch module, which a layer is there, has its hooks.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_FUNCTION = Rule("a function of a shape and a dtype", callable)


def projection(
    units: int,
    *,
    use_bias: bool = True,
    variance_scale: float = 1.0,
    initializer: Callable | None = None,
    **kwargs: Any,
) -> keras.layers.Dense:
    """A `keras.layers.Dense` whose kernel is initially normal with variance `variance_scale / fan_in`.

    As a `Dense`, it supports Keras's LoRA and int8.

    Args:
        units: width of the output.
        use_bias: whether to add a bias, initially zero.
        variance_scale: 1, or `2 / num_layers` for the last projection of a block.
        initializer: draws the kernel in another way.
        **kwargs: passed to `Dense`, such as `name` and `dtype`.

    Returns:
        The layer, not yet built.

    Raises:
        ValueError: an argument has a wrong type or value.
    """
    units = checked("projection", COUNT, units=units)
    use_bias = checked("projection", FLAG, use_bias=use_bias)
    variance_scale = checked("projection", POSITIVE, variance_scale=variance_scale)
    initializer = checked("projection", _FUNCTION.or_none(), initializer=initializer)
    initializer = initializer or keras.initializers.VarianceScaling(variance_scale, "fan_in", "untruncated_normal")
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=random_initializer(initializer), **kwargs)


def project(layer: Callable, inputs: Tensor) -> Tensor:
    """Apply a dense layer, or another function of rows, to the last axis of an array, with the other axes flattened.

    XLA on a CPU takes about twice as long for the gradient of a product over two leading axes. (In a subclass of
    `Dense` that did this, Keras's int8 would not work.)

    Args:
        layer: maps `(rows, D)` to `(rows, units)`.
        inputs: `(..., D)`.

    Returns:
        `(..., units)`.
    """
    rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
    rows = _product(layer, rows) if _is_ours(layer) else layer(rows)
    return ops.reshape(rows, (*ops.shape(inputs)[:-1], rows.shape[-1]))


def projected(inputs: Tensor, *layers: Callable) -> list[Tensor]:
    """What each of some dense layers makes of the same inputs, in float32."""
    return [ops.cast(project(layer, inputs), "float32") for layer in layers]


def kernel_of(layer: keras.layers.Dense) -> keras.Variable:
    """The kernel's variable; `layer.kernel` also includes Keras's LoRA."""
    return next(weight for weight in layer.weights if weight.name == "kernel")


def _is_ours(layer) -> bool:
    """Whether a layer is a product that this package computes faster than Keras."""
    if type(layer) is not keras.layers.Dense or _is_observed(layer):
        return False
    if layer.quantization_mode is None:
        return keras.backend.backend() == "torch" or layer.compute_dtype == "bfloat16" or layer.lora_enabled
    return layer.quantization_mode == "int8" and layer.inputs_quantizer is not None


def _is_observed(layer) -> bool:
    """Whether the layer's calls are observed: inside `observed`, or by one of PyTorch's hooks."""
    return "call" in layer.__dict__ or any(layer.__dict__.get(name) for name in _HOOKS)


def _product(layer, rows):
    """`x W + b`, by an op that is fast for few rows; with LoRA `x W + b + alpha / rank (x A) B`.

    Keras would compute `W + alpha / rank A B`, as large as W, store it for the gradient, and compute a gradient for it.
    """
    dtype = layer.compute_dtype
    rows = ops.cast(rows, dtype)
    bias = None if layer.bias is None else ops.cast(layer.bias, dtype)
    if layer.quantization_mode is None:
        outputs = row_product(rows, ops.cast(kernel_of(layer), dtype), bias)
    else:
        outputs = _int8_product(layer, rows)
        outputs = outputs if bias is None else ops.add(outputs, bias)
    if layer.lora_enabled:
        a, b = (ops.cast(part, dtype) for part in (layer.lora_kernel_a, layer.lora_kernel_b))
        outputs = outputs + (layer.lora_alpha / layer.lora_rank) * ops.matmul(ops.matmul(rows, a), b)
    return outputs


def _int8_product(layer, rows):
    """`x W` as Keras defines it for int8, `round(r x) Q / (r s)` for the kernel `W = Q / s` and r of each row.

    Keras rounds the products' sums and the scales to the compute dtype; here they are float32, rounded once.
    """
    dtype = layer.compute_dtype

    @ops.custom_gradient
    def product(rows, kernel, scale):
        def gradient(*arguments, upstream=None):
            """As if the rows were not rounded."""
            upstream = arguments[0] if upstream is None else upstream
            upstream = ops.cast(ops.divide(ops.cast(upstream, "float32"), scale), dtype)
            return ops.matmul(upstream, ops.transpose(ops.cast(kernel, dtype))), None, None

        rounded, row_scale = layer.inputs_quantizer(ops.cast(rows, "float32"), axis=-1)
        sums = backends.active().int8_product(rounded, kernel)
        outputs = ops.divide(ops.divide(ops.cast(sums, "float32"), row_scale), scale)
        return ops.cast(outputs, dtype), gradient

    kernel, scale = ops.convert_to_tensor(kernel_of(layer)), ops.cast(layer.kernel_scale, "float32")
    return product(rows, kernel, scale)
