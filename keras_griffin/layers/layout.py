"""The layout of a tensor inside a model on a mesh of devices."""

import keras
from keras import ops

from keras_griffin.ops.implementation import have_values
from keras_griffin.ops.time_axis import is_divided
from keras_griffin.shapes import Tensor


def laid_out(x: Tensor, path: str) -> Tensor:
    """A tensor of a compiled function, in the layout that the active `keras.distribution` gives for a path.

    XLA infers the layout of other tensors from those that have one. Keras lays out the outputs of `Layer.__call__`,
    even outside compiled functions, where a batch of one row can't be divided. This function is for other tensors, and
    does nothing to tensors that have values or can't be divided.

    Args:
        x: a tensor or a variable.
        path: such as `"block_0/residual"`, with the layer's path before the slash.

    Returns:
        `x` itself if there is no distribution, if there is no layout for the path, or if time is divided: each device
        then computes with its own part, which must not be divided again.
    """
    distribution = keras.distribution.distribution()
    has_layouts = distribution is not None and not is_divided()
    layout = distribution.get_tensor_layout(path) if has_layouts else None
    if layout is None or isinstance(x, keras.KerasTensor):
        return x
    tensor = ops.convert_to_tensor(x)
    mesh = layout.device_mesh
    parts = {None: 1, **dict(zip(mesh.axis_names, mesh.shape, strict=True))}
    divides = all(size % parts[axis] == 0 for size, axis in zip(tensor.shape, layout.axes, strict=True))
    return x if have_values((tensor,)) or not divides else keras.distribution.distribute_tensor(tensor, layout)
