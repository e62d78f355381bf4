"""The layout of a model's parameters on a mesh of devices, for `keras.distribution.ModelParallel`."""

import math

import keras

from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.models.weight_shapes import model_weights

#: The mesh's axis over which layers are split, and those over which a batch is, by Keras's names.
MODEL_AXIS = "model"
BATCH_AXES = ("batch", "data")


def layout_map(
    model: LanguageModel | GriffinConfig,
    device_mesh: keras.distribution.DeviceMesh,
    *,
    fully_sharded: bool = True,
) -> keras.distribution.LayoutMap:
    """The layout of every parameter of a model on a mesh of devices, as in the paper.

    Over the axis `"model"`, as in Megatron: widening projections are split by columns and narrowing ones by rows,
    attention by heads, and the RG-LRU's gates by blocks. Convolution, gates and recurrence act on each channel or block
    separately, so they need no communication. Each mixer and each MLP ends with one sum over the axis.

    Over the axis `"batch"` or `"data"`, as in ZeRO: matrices are stored in parts and gathered for use, and the
    optimizer's slots, which Keras lays out like their parameters, stay in parts. A matrix is cut along an axis that
    `"model"` leaves free and that the number of parts divides; if there is none, it stays whole, like vectors.

    Keras lays out a variable when it is created, so create the map, and `ModelParallel` with it, before the model.

    Args:
        model: the `GriffinConfig` of the future model (for a `Hawk`, with its `block_pattern`); or a model, for its
            config.
        device_mesh: a `keras.distribution.DeviceMesh` with an axis `"model"` and an axis `"batch"` or `"data"`. Either
            may have size 1.
        fully_sharded: whether to store parameters in parts over the batch axis.

    Returns:
        A `keras.distribution.LayoutMap`. Its keys are patterns of the variables' paths, one for each variable, of the
        blocks' outputs, and of the embedding table in use. Keys and values are not split if the axis `"model"` does not
        divide their heads, nor the table if it does not divide the vocabulary.

    Raises:
        ValueError: the backend is not JAX; the model has no `GriffinConfig`; the mesh lacks an axis; or `"model"` does
            not divide the heads, the gates' blocks or the MLP's width.

    Examples:
        >>> import keras
        >>> from keras_griffin.distribution import layout_map
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> config = GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8)
        >>> if keras.backend.backend() == "jax":
        ...     devices = keras.distribution.list_devices()
        ...     mesh = keras.distribution.DeviceMesh((len(devices), 1), ["batch", "model"], devices)
        ...     with keras.distribution.ModelParallel(layout_map=layout_map(config, mesh)).scope():
        ...         model = Griffin(config)

    Reference: De et al. 2024 (arXiv 2402.19427), section 4.1; Shoeybi et al. 2019 (arXiv 1909.08053); Rajbhandari et
    al. 2020 (arXiv 1910.02054).
    """
    config = model.config if isinstance(model, LanguageModel) else model
    if not isinstance(config, GriffinConfig):
        raise ValueError(f"layout_map: model must be a GriffinConfig or a LanguageModel. Got {model!r}.")
    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(f"layout_map: the backend must be jax, the only one with Keras's distribution. Got {backend}.")
    parts = dict(zip(device_mesh.axis_names, device_mesh.shape, strict=True))
    batch_axis = next((name for name in BATCH_AXES if name in parts), None)
    if batch_axis is None or MODEL_AXIS not in parts:
        raise ValueError(
            f"layout_map: the mesh must have an axis named model and one named batch or data. Got {', '.join(parts)}."
        )
    weights = model_weights(config)
    _check_divisions(weights.values(), parts[MODEL_AXIS])

    def layout(shape, split, *stored):
        """Split axis `split` over the model axis, and the first possible axis of `stored` over the batch axis."""
        axes: list[str | None] = [None] * len(shape)
        if split is not None and shape[split] % parts[MODEL_AXIS] == 0:
            axes[split] = MODEL_AXIS
        for axis in stored if fully_sharded else ():
            if batch_axis not in axes and axes[axis] is None and shape[axis] % parts[batch_axis] == 0:
                axes[axis] = batch_axis
        return tuple(axes)

    layouts = keras.distribution.LayoutMap(device_mesh)
    for path, weight in weights.items():
        is_whole = weight.units is not None and weight.units[1] % parts[MODEL_AXIS] != 0
        layouts[f"(?:.*/)?{path}"] = layout(weight.shape, *((None,) if is_whole else (weight.split, *weight.stored)))
    # Otherwise XLA divides the residual stream by channels, as the matrices are stored, and computes the whole batch on
    # every device.
    layouts[r"(?:.*/)?block_\d+/residual"] = (batch_axis, None, None)
    layouts["(?:.*/)?token_embedding/table"] = layout((config.vocabulary_size, config.width), 0)
    # The state of truncated backpropagation: rows stay where their tokens are.
    layouts[r"(?:.*/)?carried(?:_in_validation)?/(?:leaf_\d+|chunk)"] = (batch_axis,)
    return layouts


def _check_divisions(weights, parts):
    """Refuse a number of parts into which a model can't be split."""
    units = dict.fromkeys(weight.units for weight in weights if weight.units is not None and weight.must_split)
    undivided = [f"{name} {size}" for name, size in units if size % parts]
    if undivided:
        common = math.gcd(*(size for _, size in units))
        possible = ", ".join(str(number) for number in range(1, common + 1) if common % number == 0)
        names = " and ".join(dict.fromkeys(name for name, _ in units))
        raise ValueError(
            f"layout_map: the mesh's axis model must divide {names}. "
            f"Got an axis of {parts} and {' and '.join(undivided)}; possible are {possible}."
        )
