"""What the parts ask of the device: its name, how fast it multiplies, and how much memory was used."""

import contextlib
import gc
import platform
import subprocess

import keras
from timing import BACKEND, compiled, device, has_events, kernel_seconds

from keras_griffin import backends


def is_small(record) -> bool:
    """Whether sizes are small."""
    return record.quick or device() == "cpu"


def training_dtype() -> str:
    """The dtype of products: bfloat16, but on a CPU, where few compute with it, float32."""
    return "float32" if device() == "cpu" else "bfloat16"


def device_name() -> str:
    """The maker's name of the device."""
    if has_events():
        import torch

        return torch.cuda.get_device_name()
    if BACKEND == "jax":
        import jax

        return jax.devices()[0].device_kind
    if BACKEND == "tensorflow" and device() == "gpu":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
        return details.get("device_name", "gpu")
    return platform.processor() or platform.machine()


def driver() -> str | None:
    """The version of NVIDIA's driver, or None."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (FileNotFoundError, subprocess.CalledProcessError, IndexError):
        return None


def matrix_product_peak() -> float:
    """Operations per second of a large product of square matrices in `training_dtype`; an addition counts as one."""
    size = 1024 if device() == "cpu" else 8192
    # Zeros and ones take less power, and so more operations a second.
    square = random_tensor((size, size), training_dtype())
    return 2 * size**3 / kernel_seconds(compiled(lambda x: x @ x), square, budget=1.0).least


def peak_memory() -> int | None:
    """The most bytes that the device has held, since `forget_peak_memory` on PyTorch; None if unknown."""
    if has_events():
        import torch

        return torch.cuda.max_memory_allocated()
    if BACKEND == "jax":
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return None


def forget_peak_memory() -> None:
    """Free what earlier models have left, and start a new peak, where the backend can."""
    # Models hold themselves, in cycles.
    gc.collect()
    if has_events():
        import torch

        # Compiled code holds its model.
        torch.compiler.reset()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def random_tensor(shape, dtype: str = "float32", low: float | None = None, high: float = 1.0):
    """Numbers made on the device: normal, or uniform from `low` to `high`."""
    with backends.active().without_gradients():
        if low is None:
            return keras.random.normal(shape, dtype=dtype)
        return keras.random.uniform(shape, low, high, dtype=dtype)


@contextlib.contextmanager
def full_precision():
    """Products of float32 in float32: on GPUs and TPUs JAX and TensorFlow round their factors by default."""
    if BACKEND == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            yield
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        settings = tf.config.experimental
        before = settings.tensor_float_32_execution_enabled()
        settings.enable_tensor_float_32_execution(False)
        yield
        settings.enable_tensor_float_32_execution(before)
    else:
        # PyTorch's default.
        yield
