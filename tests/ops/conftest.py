"""What the tests of the ops share."""

import importlib.util

import keras
import pytest

from keras_griffin.ops.linear_cross_entropy import chunks
from keras_griffin.ops.shared import attention
from tests.ops.rows import interpret, interpreted_rows


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
def interpreter(request, monkeypatch):
    """For the tests of an `implementation` that this process can interpret: what it needs, and its device pretended."""
    name = request.node.callspec.params.get("implementation") if hasattr(request.node, "callspec") else None
    for op, row in interpreted_rows().get(name, []):
        interpret(monkeypatch, op, row)


@pytest.fixture
def topology(request, monkeypatch):
    """The chips of a TPU that is not there, to compile for; `request.param` names it."""
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed")
    from jax.experimental import topologies

    # Without these the compiler looks for a TPU in the cloud.
    environment = {"SKIP_MDS_QUERY": "1", "WORKER_HOSTNAMES": "localhost", "ACCELERATOR_TYPE": "v5litepod-4"}
    for name, value in environment.items():
        monkeypatch.setenv(f"TPU_{name}", value)
    # Where there is no TPU to fight for, several processes may load it.
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    return topologies.get_topology_desc(platform="tpu", topology_name=request.param).devices


@pytest.fixture
def small_chunks(monkeypatch):
    """An op that works in chunks has several, the last one shorter."""
    monkeypatch.setattr(chunks, "LOGITS_AT_A_TIME", 200)
    monkeypatch.setattr(attention, "BLOCK", 32)
