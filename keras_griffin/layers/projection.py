"""The dense projections of Griffin's blocks, with the initialisation of its released code."""

from collections.abc import Callable

import keras
from keras import ops

from keras_griffin.checks import COUNT, FLAG, POSITIVE, checked
from keras_griffin.layers.initialization import random_initializer
from keras_griffin.ops.row_product import row_product
from keras_griffin.shapes import Tensor


def projection(units: int, *, use_bias: bool = True, variance_scale: float = 1.0, **kwargs) -> keras.layers.Dense:
    """A `keras.layers.Dense` whose kernel is normal with variance `variance_scale / fan_in`.

    Being a `Dense`, it takes LoRA and int8 from Keras.

    Args:
        units: width of the output.
        use_bias: whether a bias, zero at first, is added.
        variance_scale: 1, or `2 / num_layers` for the last projection of a block.
        **kwargs: passed to `Dense`, such as `name` and `dtype`.

    Returns:
        The layer, not yet built.

    Raises:
        ValueError: an argument is of a wrong type or value.
    """
    units = checked("projection", COUNT, units=units)
    use_bias = checked("projection", FLAG, use_bias=use_bias)
    variance_scale = checked("projection", POSITIVE, variance_scale=variance_scale)
    initializer = keras.initializers.VarianceScaling(variance_scale, "fan_in", "untruncated_normal")
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=random_initializer(initializer), **kwargs)


def project(layer: Callable, inputs: Tensor) -> Tensor:
    """Apply a dense layer, or another function of rows, to the last axis of an array, the axes before it joined.

    XLA on a CPU takes about twice as long for the gradient of a product over two leading axes. (A subclass of `Dense`
    that did this would get no int8 from Keras.)

    Args:
        layer: takes `(rows, D)` to `(rows, units)`.
        inputs: `(..., D)`.

    Returns:
        `(..., units)`.
    """
    rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
    rows = _product(layer, rows) if _is_plain(layer) else layer(rows)
    return ops.reshape(rows, (*ops.shape(inputs)[:-1], rows.shape[-1]))


def _is_plain(layer) -> bool:
    """Whether a layer is a bfloat16 product and a bias, and no more: without LoRA, and not quantised."""
    is_dense = type(layer) is keras.layers.Dense and layer.compute_dtype == "bfloat16"
    return is_dense and not layer.lora_enabled and layer.quantization_mode is None


def _product(layer, rows):
    """What a plain layer computes, for a backend that can do better than Keras with few rows of bfloat16."""
    outputs = row_product(ops.cast(rows, "bfloat16"), ops.cast(layer.kernel, "bfloat16"))
    return outputs if layer.bias is None else ops.add(outputs, ops.cast(layer.bias, "bfloat16"))
