"""What the compiler of TPUs makes of a divided model and of its kernels, for chips that need not be there."""

import importlib.util
import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("Keras's distribution is JAX's alone", allow_module_level=True)

import jax

from keras_griffin.distribution import layout_map
from tests.distribution.tiny import CONFIG, STEPS, model

pytestmark = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu-check")
#: What the compiler asks the machine for; without it, it looks for a TPU in the cloud.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    # Where there is no TPU to fight for, several processes may load it.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
SPLASH = ["splash_mha_dkv_no_residuals", "splash_mha_dq_no_residuals", "splash_mha_fwd_residuals"]
COLLECTIVE = r"(all-\w+|reduce-scatter|collective-permute|collective-broadcast)(?:-start)?\("
THREE_LAYERS = CONFIG.replace(num_layers=3, block_pattern=("recurrent", "recurrent", "local_mqa"))


def program_of(config, topology, shape, rows):
    """The program of the gradient of a model's loss on the chips of a topology such as "v5e:2x4", in a mesh."""
    from jax.experimental import topologies

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        devices = topologies.get_topology_desc(topology, platform="tpu").devices
        axis_names = ["batch", "model"][: len(shape)]

        class Chips(keras.distribution.DeviceMesh):
            backend_mesh = jax.sharding.Mesh(np.array(devices).reshape(shape), axis_names)

        mesh = Chips(shape, axis_names, [f"tpu:{i}" for i in range(len(devices))])
        if len(shape) == 1:
            distribution = keras.distribution.DataParallel(mesh)
        else:
            distribution = keras.distribution.ModelParallel(layout_map=layout_map(config, mesh), batch_dim_name="batch")
        return compiled(model(config=config), distribution, rows)


def compiled(trained, distribution, rows):
    def like(variable):
        layout = distribution.get_variable_layout(variable)
        return jax.ShapeDtypeStruct(variable.shape, variable.dtype, sharding=layout.backend_layout)

    def loss(parameters, tokens):
        logits, _ = trained.stateless_call(parameters, [], tokens)
        return trained.loss(tokens, logits)

    layout = keras.distribution.TensorLayout(("batch", None), distribution.device_mesh).backend_layout
    tokens = jax.ShapeDtypeStruct((rows, STEPS), "int32", sharding=layout)
    with distribution.scope():
        gradient = jax.jit(jax.grad(loss))
        return gradient.lower([like(variable) for variable in trained.weights], tokens).compile().as_text()


@pytest.fixture(scope="module")
def sent():
    """The results and origins of all that a gradient sends over the eight chips of a v5e, which split the model."""
    program = program_of(CONFIG, "v5e:2x4", (1, 8), rows=8)
    found = re.findall(rf'= (.+?) {COLLECTIVE}.*op_name="([^"]*)"', program)
    assert {kind for _, kind, _ in found} == {"all-reduce"}
    return [(result, origin) for result, _, origin in found]


def sizes(result):
    """How many numbers each tensor in a result has."""
    shapes = re.findall(r"f(?:32|16)\[([\d,]+)\]", result)
    return [int(np.prod([int(size) for size in shape.split(",")])) for shape in shapes]


@pytest.mark.parametrize("part", ["mixer", "mlp"])
@pytest.mark.parametrize("block", ["block_0", "block_1"])
@pytest.mark.parametrize("direction", ["jit(loss)/jvp({})", "transpose(jvp({}))"])
def test_each_mixer_and_each_mlp_sends_one_sum_of_vectors(sent, direction, block, part):
    """Forward and backward, as section 4.1 of the paper says."""
    of_part = [sizes(result) for result, origin in sent if f"{direction.format(block)}/{part}/" in origin]
    vectors, tokens = 8 * STEPS * CONFIG.width, 8 * STEPS
    if (block, part) != ("block_1", "mixer"):
        assert of_part == [[vectors]]
    else:
        # Attention also agrees on which steps are finite, in both directions.
        assert [tokens] in of_part
        of_part.remove([tokens])
        ((first, *rest),) = of_part
        # All heads share a key and a value: backward their gradients go along.
        assert first == vectors and len(rest) == (0 if direction.startswith("jit") else 2)


@pytest.mark.parametrize(
    ("topology", "shape"),
    [
        ("v5e:2x4", (2, 4)),
        pytest.param("v5e:2x4", (8,), marks=pytest.mark.slow),
        pytest.param("v5e:16x16", (64, 4), marks=pytest.mark.slow),
    ],
)
def test_a_training_step_has_kernels_in_place_of_loops(topology, shape, monkeypatch):
    monkeypatch.setattr("keras_griffin.backends.jax_backend.device_kind", lambda: "tpu")
    lines = program_of(THREE_LAYERS, topology, shape, rows=2 * shape[0]).splitlines()
    kernels = [re.search(r"%([a-z_]+)", line)[1] for line in lines if '"tpu_custom_call"' in line]
    # Forward and backward of two blocks; and attention's, which for the gradient has two.
    assert sorted(kernels) == ["rg_lru"] * 2 + ["rg_lru_gradient"] * 2 + SPLASH
    # What XLA itself makes a loop, to send one part of a matrix while it multiplies another, is a product.
    loops = [line for line in lines if " while(" in line]
    assert all(re.search(r'op_name="[^"]*/dot_general"', line) for line in loops)
    # Nothing is sent where the kernels are, and what is sent elsewhere shows that the model is divided.
    sent = [line for line in lines if re.search(f" {COLLECTIVE}", line)]
    assert sent and not any("shard_map" in line or "rg_lru" in line for line in sent)
