"""What holds for every test: a backend, fixed seeds, no setting left behind, and no gradients where there are none."""

import functools
import gc
import importlib.metadata
import importlib.util
import itertools
import os
import pathlib
import random

if hasattr(os, "sched_setaffinity"):
    # One core for each worker, or part: libraries that each took all of them would wait for one another.
    cores = sorted(os.sched_getaffinity(0))
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.sched_setaffinity(0, {cores[int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) % len(cores)]})
    elif "TESTS_CORE" in os.environ:
        os.sched_setaffinity(0, {int(os.environ["TESTS_CORE"])})
# XLA, for JAX and TensorFlow, is to compile quickly, and not to quick programs: tests look at values.
# JAX divides the CPU into eight devices; only tests of several use more than the first.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1 --xla_force_host_platform_device_count=8 "
) + os.environ.get("XLA_FLAGS", "")
if not importlib.util.find_spec("jaxlib") or [*map(int, importlib.metadata.version("jaxlib").split(".")[:2])] < [0, 11]:
    # XLA ends the process at a flag that it doesn't know, and JAX 0.12's no longer knows this one.
    os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false " + os.environ["XLA_FLAGS"]
# Inductor's workers would import PyTorch once more, on the one core.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
# With the compiler of TPUs installed, JAX would look for one. A caller may ask for other devices.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import keras_griffin  # noqa: F401  Chooses an installed backend where KERAS_BACKEND is unset; so it stands before keras.

import keras  # isort: skip
import numpy as np
import pytest

BACKEND = keras.backend.backend()
# The collector walks through all that a backend has compiled. What is left of a file is collected at its end.
gc.set_threshold(50_000, 20, 50)
#: Above which a worker drops compiled programs.
MOST_RESIDENT_BYTES = 5 << 29
if BACKEND in ("jax", "torch") and importlib.util.find_spec("triton") is not None:
    # PyTorch's compiler and jax-triton import it; once TensorFlow is loaded, to save a model, that would crash.
    import triton  # noqa: F401
if BACKEND == "jax":
    import tests.one_context  # noqa: F401


def pytest_report_header():
    return f"keras {keras.__version__} on {BACKEND}"


def pytest_ignore_collect(collection_path):
    """Import no file of another part."""
    return True if collection_path in of_other_parts() else None


@functools.cache
def of_other_parts():
    """The files that are not of the part that the environment names, such as "2/3". Parts are about equally long."""
    number, parts = map(int, os.environ.get("TESTS_PART", "1/1").split("/"))
    files = sorted(pathlib.Path(__file__).parent.rglob("test_*.py"))
    ends = [0, *itertools.accumulate(file.stat().st_size for file in files)]
    return {file for file, start in zip(files, ends, strict=False) if start * parts // ends[-1] + 1 != number}


def pytest_collection_modifyitems(config, items):
    """Leave out the tests marked `trainable` where the backend computes no gradients.

    Files with slow tests come first, so that at the end no worker waits long for the others.
    """
    has_gradients = BACKEND in ("jax", "torch", "tensorflow")
    kept = [item for item in items if has_gradients or not item.get_closest_marker("trainable")]
    config.hook.pytest_deselected(items=list(set(items) - set(kept)))
    with_slow = {item.path for item in kept if item.get_closest_marker("slow")}
    items[:] = sorted(kept, key=lambda item: item.path not in with_slow)


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Start every test from the same random state."""
    # Keras draws the seeds of initialisers from Python's generator. `keras.utils.set_random_seed` imports TensorFlow
    # wherever it is installed, so only TensorFlow's own tests call it.
    random.seed(0)
    np.random.seed(0)
    if BACKEND == "tensorflow":
        keras.utils.set_random_seed(0)
    elif BACKEND == "torch":
        import torch

        torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def little_garbage(request):
    """After each file clear its caches, and exempt what is left from the collection of garbage."""
    yield
    for value in vars(request.module).values():
        if getattr(value, "__module__", None) == request.module.__name__ and hasattr(value, "cache_clear"):
            value.cache_clear()
    # TensorFlow can't drop compiled programs, so `run_backends.py` divides its tests.
    if BACKEND == "jax" and _resident_bytes() > MOST_RESIDENT_BYTES:
        import jax

        gc.unfreeze()
        jax.clear_caches()
    gc.collect()
    gc.freeze()


def _resident_bytes():
    """On Linux; elsewhere 0."""
    statm = pathlib.Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


@pytest.fixture(autouse=True)
def unchanged_settings():
    """Fail a test that leaves Keras's global settings changed for those after it."""
    before = _settings()
    yield
    after = _settings()
    if after != before:
        keras.config.set_floatx(before["floatx"])
        keras.config.set_dtype_policy(before["dtype_policy"])
        pytest.fail(f"The test left Keras's settings changed, from {before} to {after}.")


def _settings():
    return {"floatx": keras.config.floatx(), "dtype_policy": keras.config.dtype_policy().name}
