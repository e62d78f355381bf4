"""PyTorch. The contract is in the package's docstring."""

import functools
import importlib.util

import keras
import numpy as np
import torch
from torch.autograd import forward_ad

from keras_griffin import backends
from keras_griffin.backends.numpy_backend import (  # noqa: F401
    before_first_step,
    compiled,
    has_strategy,
    keep_programs,
    owned_copy,
    sync_variables,
)

DTYPE_NAMES = {
    getattr(torch, name): name for name in ("float32", "float64", "bfloat16", "float16", "bool", "int32", "int64")
}


_HAS_ACCELERATOR = torch.accelerator.is_available()


def device_kind() -> str:
    """The kind of the current device, which `keras.device` scopes change."""
    return "gpu" if _HAS_ACCELERATOR and keras.ops.zeros(()).device.type != "cpu" else "cpu"


def has_values(tensors) -> bool:
    """False while gradients are being recorded for them."""
    return not any(tensor.requires_grad and torch.is_grad_enabled() for tensor in tensors)


def is_transformed() -> bool:
    """Inside a transform of `torch.func`, or in forward mode, which may be entered without one."""
    # No public function tells.
    return is_forward_mode_active() or torch._C._are_functorch_transforms_active()


def is_forward_mode_active() -> bool:
    """Whether tensors may have tangents, at any level."""
    # No public function tells; looking for a tangent in each tensor would take microseconds.
    return forward_ad._current_level >= 0


def is_exported() -> bool:
    """Inside `torch.export`."""
    return torch.compiler.is_exporting()


def has_threads() -> bool:
    """Unless `torch.set_num_threads(1)` has been called, as in the workers of a `DataLoader`."""
    return torch.get_num_threads() > 1


def without_gradients():
    """`torch.no_grad()`."""
    return torch.no_grad()


def before_config_is_written() -> None:
    """Import Triton, as PyTorch's compiler does later: after TensorFlow the import crashes."""
    if importlib.util.find_spec("triton") is not None:
        import triton  # noqa: F401


def int8_product(rows, matrix):
    """By oneDNN on a CPU with instructions for it, and by cuBLAS on a GPU."""
    # Keras would make int32 copies and multiply them one by one on a CPU, and float32 copies of few rows on a GPU.
    if rows.device.type == "cpu" and _has_int8_products():
        return torch._int_mm(rows, matrix)
    if rows.is_cuda and all(size % 8 == 0 for size in matrix.shape):
        return product_of_few_rows(rows, matrix)
    return keras.ops.matmul(rows, matrix)


def product_of_few_rows(rows, matrix):
    """The product with rows of zeros behind fewer than 32, since cuBLAS takes no fewer than 17."""
    missing = max(0, 32 - rows.shape[0])
    return torch._int_mm(torch.nn.functional.pad(rows, (0, 0, 0, missing)), matrix)[: rows.shape[0]]


@functools.cache
def _has_int8_products():
    """Without VNNI, oneDNN's sums of two products may overflow 16 bits."""
    return torch.cpu._is_vnni_supported()


def store_by_column(variable) -> None:
    """On a CPU, where it takes two thirds of the time. Assignments write into the same memory."""
    matrix = variable.value
    if matrix.device.type == "cpu":
        matrix.data = matrix.data.t().contiguous().t()


def places(variables) -> tuple:
    """Where the values are too: `module.to` and the like move them."""
    return tuple((id(variable), variable.value.data_ptr()) for variable in variables)


def value_and_gradient(function, tensors):
    """Zeros where there is no gradient."""
    tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        value = function(*tensors)
        gradients = torch.autograd.grad(value, tensors, allow_unused=True)
    gradients = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)]
    return value.detach(), gradients


def process() -> tuple[int, int]:
    """Those of the process group."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def gathered(array: np.ndarray) -> np.ndarray:
    """By `all_gather`."""
    own = _communicable(array)
    everyone = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(everyone, own)
    return torch.stack(everyone).cpu().numpy()


def sent(array: np.ndarray, source: int) -> np.ndarray:
    """By `broadcast`."""
    tensor = _communicable(array)
    torch.distributed.broadcast(tensor, source)
    return tensor.cpu().numpy()


def _communicable(array):
    # NCCL moves tensors on GPUs; every other backend, also one combined with NCCL, moves tensors on the CPU.
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    return torch.from_numpy(np.array(array)).to(device)


# Dynamo can't trace an import. A function of a constant result it calls while it traces.
torch.compiler.assume_constant_result(backends.import_once)
