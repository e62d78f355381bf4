"""What the compiler of TPUs makes of a training step with kernels, for chips that need not be there."""

import importlib.util
import re

import keras
import pytest

from keras_griffin.distribution import layout_map
from tests.distribution.chips import chips, mesh_of_chips
from tests.distribution.tiny import CONFIG, model

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's distribution is JAX's alone"),
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu-check"),
]
STEPS = 40
SPLASH = ["splash_mha_dkv_no_residuals", "splash_mha_dq_no_residuals", "splash_mha_fwd_residuals"]
COLLECTIVE = (
    r" (?:all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|collective-broadcast)(?:-start)?\("
)
THREE_LAYERS = CONFIG.replace(num_layers=3, block_pattern=("recurrent", "recurrent", "local_mqa"))


def model_parallel(mesh):
    return keras.distribution.ModelParallel(layout_map=layout_map(THREE_LAYERS, mesh), batch_dim_name="batch")


@pytest.mark.parametrize(
    ("topology", "shape", "kind"),
    [
        ("v5e:2x4", (2, 4), model_parallel),
        pytest.param("v5e:2x4", (8,), keras.distribution.DataParallel, marks=pytest.mark.slow),
        pytest.param("v5e:16x16", (64, 4), model_parallel, marks=pytest.mark.slow),
    ],
)
def test_a_training_step_has_kernels_in_place_of_loops(topology, shape, kind, monkeypatch):
    monkeypatch.setattr("keras_griffin.backends.jax_backend.device_kind", lambda: "tpu")
    trained = model(config=THREE_LAYERS)
    with chips(topology) as devices:
        mesh = mesh_of_chips(devices, shape, ("batch", "model")[: len(shape)])
        lines = training_step(trained, kind(mesh), rows=2 * shape[0]).splitlines()
    kernels = [re.search(r"%([a-z_]+)", line)[1] for line in lines if '"tpu_custom_call"' in line]
    # Forward and backward of two blocks; and attention's, which for the gradient has two.
    assert sorted(kernels) == ["rg_lru"] * 2 + ["rg_lru_gradient"] * 2 + SPLASH
    # What XLA itself makes a loop, to send one part of a matrix while it multiplies another, is a product.
    loops = [line for line in lines if " while(" in line]
    assert all(re.search(r'op_name="[^"]*/dot_general"', line) for line in loops)
    # Nothing is sent where the kernels are, and what is sent elsewhere shows that the model is divided.
    sent = [line for line in lines if re.search(COLLECTIVE, line)]
    assert sent and not any("shard_map" in line or "rg_lru" in line for line in sent)


def training_step(trained, distribution, rows):
    """The program of a model's loss and gradient, for the chips of a distribution."""
    import jax

    def like(variable):
        layout = distribution.get_variable_layout(variable)
        return jax.ShapeDtypeStruct(variable.shape, variable.dtype, sharding=layout.backend_layout)

    def loss(parameters, tokens):
        logits, _ = trained.stateless_call(parameters, [], tokens)
        return trained.loss(tokens, logits)

    layout = keras.distribution.TensorLayout(("batch", None), distribution.device_mesh).backend_layout
    tokens = jax.ShapeDtypeStruct((rows, STEPS), "int32", sharding=layout)
    with distribution.scope():
        step = jax.jit(jax.value_and_grad(loss))
        return step.lower([like(variable) for variable in trained.weights], tokens).compile().as_text()
