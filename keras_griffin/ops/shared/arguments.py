"""The checks that ops share, and how they recognise symbolic arguments."""

import keras
from keras import ops

from keras_griffin import backends

_DTYPE_NAMES = backends.active().DTYPE_NAMES


def dtype_of(tensor) -> str:
    """The name of a tensor's dtype."""
    # Keras finds that of PyTorch's dtypes in their text, which takes as long as a small operation.
    return _DTYPE_NAMES.get(tensor.dtype) or keras.backend.standardize_dtype(tensor.dtype)


def as_tensor(argument):
    """A backend tensor from an array or a variable; a tensor, a KerasTensor or None unchanged."""
    if isinstance(argument, keras.Variable):
        return argument.value
    # Keras's NumPy backend would turn a float64 tensor into float32.
    if argument is None or isinstance(argument, keras.KerasTensor) or ops.is_tensor(argument):
        return argument
    return ops.convert_to_tensor(argument)


def is_symbolic(*arguments) -> bool:
    """Whether any argument is a `KerasTensor`, as while a functional model is being built."""
    return any(isinstance(argument, keras.KerasTensor) for argument in arguments)


def shape_fits(tensor, expected: tuple[int | None, ...]) -> bool:
    """Whether a tensor may have the expected shape; None, on either side, is a size not yet known."""
    shape = tuple(tensor.shape)
    sizes = zip(shape, expected, strict=False)
    return len(shape) == len(expected) and all(None in (got, wanted) or got == wanted for got, wanted in sizes)


def check_floating(op_name: str, **tensors):
    """Raise unless each given tensor has a real floating dtype.

    Raises:
        ValueError: one has another dtype.
    """
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        dtype = dtype_of(tensor)
        if not keras.backend.is_float_dtype(dtype):
            raise ValueError(f"{op_name}: {name} must have a real floating dtype. Got {dtype}.")


def check_steps(op_name: str, steps_shape: tuple[int | None, ...], **flags):
    """Raise unless each given flag (`reset`, `mask`) is boolean with one value for each step.

    Args:
        op_name: the op's name, for error messages.
        steps_shape: `(B, T)`.
        **flags: tensors or None, by the name of the op's argument.

    Raises:
        ValueError: a flag has another shape or dtype.
    """
    for name, flag in flags.items():
        if flag is None:
            continue
        dtype = dtype_of(flag)
        if dtype != "bool" or not shape_fits(flag, steps_shape):
            raise ValueError(
                f"{op_name}: {name} must be boolean, one value for each step, shape {steps_shape}. "
                f"Got dtype {dtype} and shape {tuple(flag.shape)}."
            )
