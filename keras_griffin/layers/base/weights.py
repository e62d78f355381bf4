"""The weights and the state that a layer declares before it is built, and the creation of the weights."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras

from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.layers.block_diagonal_dense import BlockDiagonalDense, check_blocks
from keras_griffin.layers.projection import projection


class Weight(NamedTuple):
    """A weight that a layer will have."""

    shape: tuple[int, ...]
    #: The axis along which a mesh may split the layer; None if every device computes with all of it.
    split: int | None = None
    #: The indivisible units of that axis and their number, such as `("num_heads", 8)`.
    units: tuple[str, int] | None = None
    #: Whether a mesh that does not divide the units is an error; if not, the weight is not split there.
    must_split: bool = True
    #: The other axes along which it may be sharded in storage: the first one that can be.
    stored: tuple[int, ...] = ()
    #: The layer that `build` makes for a kernel: `"dense"`, a `projection`, or `"blocks"`, a `BlockDiagonalDense`.
    layer: str | None = None


class StateSpec(NamedTuple):
    """The shape and dtype of a part of a layer's state, for one row."""

    shape: tuple[int, ...]
    #: None for the compute dtype.
    dtype: str | None = None
    #: Its value before the first step.
    start: float = 0.0


def dense_weights(
    path: str,
    inputs: int,
    outputs: int,
    split: int = 1,
    units: tuple[str, int] | None = None,
    bias: bool = True,
    **kwargs: Any,
) -> dict[str, Weight]:
    """The weights of a `projection`, by path; a mesh splits axis `split` of the kernel between units or channels."""
    units = units or ("units", (inputs, outputs)[split])
    kernel = Weight((inputs, outputs), split, units, stored=(1 - split,), layer="dense", **kwargs)
    weights = {f"{path}/kernel": kernel}
    if bias:
        # The bias of partial sums is added once.
        weights[f"{path}/bias"] = Weight((outputs,), 0, units) if split else Weight((outputs,))
    return weights


def block_weights(path: str, inputs: int, outputs: int, units: tuple[str, int]) -> dict[str, Weight]:
    """The weights of a `BlockDiagonalDense`, by path; `units` names the argument that is its number of blocks."""
    _, blocks = units
    check_blocks(blocks, inputs, outputs)
    shape = (blocks, inputs // blocks, outputs // blocks)
    return {
        f"{path}/blocks/kernel": Weight(shape, 0, units, stored=(1,), layer="blocks"),
        f"{path}/blocks/bias": Weight((blocks, 1, outputs // blocks), 0, units),
    }


def within(name: str, weights: dict[str, Weight]) -> dict[str, Weight]:
    """The weights of a sublayer, by path; the layer makes it and builds it."""
    return {f"{name}/{path}": weight._replace(layer=None) for path, weight in weights.items()}


def create_weights(
    layer: keras.Layer, declared: dict[str, Weight], initializers: dict[str, Callable]
) -> Iterator[tuple[str, Any]]:
    """Names and new weights of a layer, or new layers that hold weights, in the declared order; none of sublayers."""
    for path, weight in declared.items():
        name, bias = path.partition("/")[0], f"{path.rpartition('/')[0]}/bias"
        initializer = initializers.get(path)
        if "/" not in path:
            initializer = random_initializer(initializer or keras.initializers.GlorotUniform())
            yield name, layer.add_weight(weight.shape, initializer, name=name, autocast=False)
        if weight.layer is None:
            continue
        options = {"use_bias": bias in declared, "name": name, "dtype": layer.dtype_policy}
        *blocks, inputs, outputs = weight.shape
        if weight.layer == "dense":
            if bias in initializers:
                options["bias_initializer"] = random_initializer(initializers[bias])
            dense = projection(outputs, initializer=initializer, **options)
            dense.build((None, inputs))
        else:
            dense = BlockDiagonalDense(blocks[0], blocks[0] * outputs, **options)
            dense.build((None, None, blocks[0] * inputs))
        yield name, dense
