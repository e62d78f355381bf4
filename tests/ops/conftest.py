"""What the tests of the ops share."""

import functools
import importlib.util

import keras
import pytest

from tests.ops.rows import interpreted


@pytest.fixture(autouse=True)
def double_precision(request):
    """JAX has float64 only inside such a block: for the tests whose `case` is in it."""
    case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    if keras.backend.backend() != "jax" or getattr(case, "dtype", None) != "float64":
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def accelerator(request, monkeypatch):
    """A TPU or a GPU, for the tests of an `implementation` in Pallas that needs one: its kernels are interpreted.

    What nobody has written yet holds NaN there.
    """
    name = request.node.callspec.params.get("implementation") if hasattr(request.node, "callspec") else None
    if name not in interpreted():
        yield
        return
    from jax.experimental import pallas

    from keras_griffin.ops.linear_scan import jax_pallas_gpu_blocks, jax_pallas_tpu_blocks

    monkeypatch.setattr("keras_griffin.backends.jax_backend.device_kind", lambda: name[-3:])
    monkeypatch.setattr(pallas, "pallas_call", functools.partial(pallas.pallas_call, interpret=True))
    # Compiling what stands for the kernel takes longer than running it.
    monkeypatch.setattr(jax_pallas_tpu_blocks, "UNROLL", 1)
    monkeypatch.setattr(jax_pallas_gpu_blocks, "ROWS", 1)
    # The longer cases are cut.
    monkeypatch.setattr(jax_pallas_gpu_blocks, "SHORTEST_PIECE", 32)
    yield


@pytest.fixture
def topology(request, monkeypatch):
    """The chips of a TPU that is not there, to compile for; `request.param` names it."""
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed")
    from jax.experimental import topologies

    # What the compiler asks the machine for; without them it looks for a TPU in the cloud.
    environment = {"SKIP_MDS_QUERY": "1", "WORKER_HOSTNAMES": "localhost", "ACCELERATOR_TYPE": "v5litepod-4"}
    for name, value in environment.items():
        monkeypatch.setenv(f"TPU_{name}", value)
    # Where there is no TPU to fight for, several processes may load it.
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    return topologies.get_topology_desc(platform="tpu", topology_name=request.param).devices
