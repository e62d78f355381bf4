"""A dense layer whose matrix is block-diagonal."""

from typing import Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, FLAG
from keras_griffin.layers.base.configured import Configured
from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.ops.block_product import block_product
from keras_griffin.shapes import LayerOptions


@keras.saving.register_keras_serializable("keras_griffin")
class BlockDiagonalDense(Configured, keras.layers.Layer):
    """Multiply by a block-diagonal matrix and add a bias.

        y_g = x_g W_g + b_g        for each of G blocks of channels

    It has 1/G of a dense layer's weights, and its channels can be sharded over devices without communication. The
    blocks are one `keras.layers.EinsumDense`, so LoRA and int8 come from Keras. Each block is drawn from a normal
    distribution with variance 1 / (its own fan-in).

    Args:
        num_blocks: G; divides the input's and the output's width.
        units: width of the output; None for the input's.
        use_bias: whether to add a bias, initially zero.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Input shape: `(..., D)`.

    Output shape: `(..., units)`.

    Raises:
        ValueError: an argument has a wrong type or value, or the number of blocks does not divide a width.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> layer = keras_griffin.layers.BlockDiagonalDense(num_blocks=4)
        >>> tuple(layer(np.ones((2, 3, 32), "float32")).shape)
        (2, 3, 32)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.4 and section 3 ("Efficient linear recurrences").
    """

    def __init__(
        self, num_blocks: int, units: int | None = None, use_bias: bool = True, **kwargs: Unpack[LayerOptions]
    ):
        super().__init__(**kwargs)
        self.num_blocks = self.checked(COUNT, num_blocks=num_blocks)
        self.units = self.checked(COUNT.or_none(), units=units)
        self.use_bias = self.checked(FLAG, use_bias=use_bias)
        self.supports_masking = True

    def build(self, inputs_shape):
        """Create the blocks' kernel `(G, D / G, units / G)` and bias `(G, 1, units / G)`."""
        width = inputs_shape[-1]
        units = width if self.units is None else self.units
        check_blocks(self.num_blocks, width, units)
        block_width = width // self.num_blocks
        self.blocks = keras.layers.EinsumDense(
            "gni,gij->gnj",
            output_shape=(None, units // self.num_blocks),
            bias_axes="gj" if self.use_bias else None,
            # A fan-in computed from the kernel's shape would include the number of blocks.
            kernel_initializer=random_initializer(keras.initializers.RandomNormal(stddev=block_width**-0.5)),
            dtype=self.dtype_policy,
            name="blocks",
        )
        self.blocks.build((self.num_blocks, None, block_width))

    def call(self, inputs):
        """Multiply block by block."""
        rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
        output_width = self.compute_output_shape(inputs.shape)[-1]
        return ops.reshape(self._products(rows), (*ops.shape(inputs)[:-1], output_width))

    def _products(self, rows):
        """`(n, D)` to `(n, units)`."""
        if self.blocks.quantization_mode is None:
            bias = None if self.blocks.bias is None else ops.squeeze(self.blocks.bias, 1)
            return block_product(rows, self.blocks.kernel, bias)
        # Quantised products are left to Keras.
        split = ops.reshape(rows, (-1, self.num_blocks, rows.shape[-1] // self.num_blocks))
        products = ops.moveaxis(self.blocks(ops.moveaxis(split, 1, 0)), 0, 1)
        return ops.reshape(products, (-1, self.compute_output_shape(rows.shape)[-1]))

    def compute_output_shape(self, inputs_shape):
        """The inputs' shape with the last axis `units`."""
        return (*inputs_shape[:-1], inputs_shape[-1] if self.units is None else self.units)


def check_blocks(num_blocks: int, width: int, units: int) -> None:
    """Raise unless a matrix between two widths has so many blocks."""
    if width % num_blocks or units % num_blocks:
        raise ValueError(
            "BlockDiagonalDense: num_blocks must divide the input's and the output's width. "
            f"Got num_blocks {num_blocks}, input width {width} and output width {units}."
        )
