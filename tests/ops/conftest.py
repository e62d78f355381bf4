"""What the tests of the ops share."""

import keras
import pytest


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
