"""The kernels of other devices, made to run here."""

import functools
import importlib

import keras
import pytest

#: For each backend its kernel, and the device that it is for.
KERNELS = {"jax": ("jax_splash_tpu", "tpu"), "torch": ("torch_flex", "gpu")}


@pytest.fixture
def pretended(monkeypatch):
    """The active backend's kernel, on what it takes for its device: chosen, but not yet able to run."""
    backend = keras.backend.backend()
    if backend not in KERNELS:
        pytest.skip("no kernel on this backend")
    name, device = KERNELS[backend]
    facts = importlib.import_module(f"keras_griffin.backends.{backend}_backend")
    monkeypatch.setattr(facts, "device_kind", lambda: device)
    module = importlib.import_module(f"keras_griffin.ops.local_attention.{name}")
    if backend == "torch":
        monkeypatch.setattr(module, "_DEVICES", ("cpu",))
    return module


@pytest.fixture
def kernel(pretended, monkeypatch):
    """The same, interpreted: on JAX in memory that is NaN until it is written, on PyTorch in eager mode."""
    if keras.backend.backend() == "jax":
        made = functools.partial(pretended.splash.make_splash_mha_single_device, interpret=True)
        monkeypatch.setattr(pretended.splash, "make_splash_mha_single_device", made)
    else:
        import torch.nn.attention.flex_attention as flex

        monkeypatch.setattr(pretended, "compiled_attend", lambda: pretended.attend)
        # On a CPU it warns that it is not compiled, and refuses gradients that it can compute.
        monkeypatch.setattr(flex, "_warn_once", lambda *arguments, **options: None)
        monkeypatch.setattr(flex, "_validate_device", lambda *tensors: None)
    return pretended
