"""The layout of a tensor inside a model on a mesh of devices."""

import keras
from keras import ops

from keras_griffin.ops.implementation import have_values
from keras_griffin.ops.shared.time_axis import is_divided
from keras_griffin.shapes import Tensor


def with_layout(x: Tensor, path: str) -> Tensor:
    """A tensor of a compiled function, in the layout of the active `keras.distribution` for a path.

    XLA infers the layout of tensors that have none. (Keras sets the layout of a layer's outputs even outside compiled
    functions, where a batch of one row can't be divided.) A no-op on tensors that have values or can't be divided, and
    where time is divided: each device then computes with its own part.
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


def layout_of_rows(ndim: int) -> keras.distribution.TensorLayout | None:
    """The layout of a variable with the rows of a batch in the active `keras.distribution`; None without one."""
    distribution = keras.distribution.distribution()
    if distribution is None or not ndim:
        return None
    axes = [distribution.batch_dim_name, *[None] * (ndim - 1)]
    return keras.distribution.TensorLayout(axes, distribution.device_mesh)
