"""The machine, the versions, the kernel that each op chooses, and what memory and arithmetic reach."""

import os
import platform

from run import PACKAGES, installed
from timing import BACKEND, device, device_bandwidth, has_events

from benchmarks.accelerator.hardware import device_name, driver, is_small, matrix_product_peak, training_dtype
from keras_griffin.ops.implementation import Op


def run(record):
    """Write them down."""
    machine = {
        "device": f"{device_name()} ({device()})",
        "backend": BACKEND,
        "driver": driver(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": ", ".join([f"Python {platform.python_version()}", *filter(None, map(installed, PACKAGES))]),
        **(of_cuda() if has_events() else {}),
        **(of_jax() if BACKEND == "jax" else {}),
    }
    for what, value in machine.items():
        record.row("The machine", what=what, value=value)
    if device() == "cpu":
        record.note(of_no_accelerator(driver()))
    size = 1 << 26 if device() == "cpu" else 1 << 30
    record.row("Reached", what=f"memory, GB/s, {size >> 20} MiB arrays", value=device_bandwidth(size) / 1e9)
    record.row("Reached", what=f"product, {training_dtype()}, TFLOP/s", value=matrix_product_peak() / 1e12)
    explained = {
        str(Op.registry[name].explain(case.shape, case.dtype)): None
        for name in sorted(Op.registry)
        for case in Op.registry[name].cases.timed(device())[: 1 if is_small(record) else None]
    }
    record.text("The kernel that each op chooses", "\n\n".join(explained))


def of_no_accelerator(version: str | None) -> str:
    """What follows where the backend computes on the CPU.

    Args:
        version: of NVIDIA's driver, or None.
    """
    here = "The backend computes on the CPU: nothing on this page is of an accelerator."
    if version is None:
        return here
    return f"{here} This machine has NVIDIA's driver {version}, so {BACKEND} lacks its CUDA build, such as jax[cuda13]."


def of_jax():
    """What JAX says of its products."""
    import jax

    precision = jax.config.jax_default_matmul_precision
    return {"products of float32": precision or f"JAX's default{', TF32 on NVIDIA' if device() == 'gpu' else ''}"}


def of_cuda():
    """What CUDA says of the device."""
    import torch

    properties = torch.cuda.get_device_properties()
    names = ("major", "minor", "multi_processor_count", "total_memory", "L2_cache_size")
    return {
        **{name.replace("_", " "): getattr(properties, name, None) for name in names},
        "CUDA": torch.version.cuda or torch.version.hip,
        "products of float32": torch.get_float32_matmul_precision(),
    }
