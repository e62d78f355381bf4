"""The dense projections of Griffin's blocks, with the initialisation of its released code."""

import keras


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
    """
    initializer = keras.initializers.VarianceScaling(variance_scale, "fan_in", "untruncated_normal")
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=initializer, **kwargs)
