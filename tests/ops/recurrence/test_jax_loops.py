"""Scans under JAX's transformations, and loops that copy nothing."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX's own transformations", allow_module_level=True)

import jax
from jax import numpy as jnp

from keras_griffin.ops import linear_scan, log_scan, use_implementation
from keras_griffin.ops.implementation import find_op
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 80, 8
GENERATOR = np.random.default_rng(0)
DECAY = GENERATOR.uniform(0.5, 1.0, (B, T, D)).astype("float32")
INPUTS, WEIGHT = GENERATOR.normal(size=(2, B, T, D)).astype("float32")
SCANS = [(linear_scan, "jax_loop"), (linear_scan, "jax_associative"), (log_scan, "jax_loop")]


@pytest.fixture(params=SCANS, ids=lambda scan: f"{scan[0].__name__}-{scan[1]}")
def loss(request):
    scan, implementation = request.param

    def loss(decay, inputs):
        states, final_state = scan(decay, inputs)
        return jnp.sum(states * WEIGHT[0]) + jnp.sum(jnp.square(final_state))

    with use_implementation(scan.__name__, implementation):
        yield loss


def test_vmap_is_a_loop_over_calls_and_checkpoint_changes_nothing(loss):
    gradient = jax.jit(jax.value_and_grad(loss, (0, 1)))
    stacked = [np.stack([x, 0.5 * x, -x]) for x in (DECAY, INPUTS)]
    together = jax.jit(jax.vmap(jax.value_and_grad(jax.checkpoint(loss), (0, 1))))(*stacked)
    apart = [jax.tree.leaves(gradient(*pair)) for pair in zip(*stacked, strict=True)]
    for got, *wanted in zip(jax.tree.leaves(together), *apart, strict=True):
        assert_close(got, np.stack(wanted))


def test_a_gradient_is_differentiable_forward(loss):
    """As for Hessian-vector products."""

    @jax.jit
    def slope(epsilon):
        return jax.grad(loss)(DECAY + epsilon * WEIGHT, INPUTS)

    _, product = jax.jvp(slope, (0.0,), (1.0,))
    difference = (slope(0.5e-2) - slope(-0.5e-2)) / 1e-2
    # A difference of float32 numbers has about half of their digits.
    assert_close(product, np.asarray(difference), factor=300)


@pytest.mark.parametrize(
    ("op_name", "parts", "options"),
    [*(("linear_scan", parts, (reverse,)) for parts in (1, 2) for reverse in (False, True)), ("log_scan", 1, ())],
)
def test_no_step_of_a_loop_copies_an_array(op_name, parts, options):
    """A copy in each of T steps would cost T squared."""
    op = find_op(op_name)
    loop = getattr(op.module(op._named("jax_loop")), op_name)

    def gradient(decay, inputs, start, weight, reset):
        (_, final_state), pull_back = jax.vjp(lambda *x: loop(*x, Marks(reset, None), *options), decay, inputs, start)
        return pull_back((weight, final_state))

    number, start = (DECAY,) * parts, (DECAY[:, 0],) * parts
    if op_name == "log_scan":
        number, start = DECAY, DECAY[:, 0]
    arguments = number, number, start, number, np.zeros((B, T, 1), bool)
    text = jax.jit(gradient).lower(*arguments).compile().as_text()
    loops = text[: text.index("\nENTRY")]
    assert "dynamic-update-slice" in loops
    assert not re.search(rf"= f32\[{B},{T},{D}\]\S* copy", loops)


def test_rows_of_a_batch_may_live_on_different_devices():
    program = """
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from keras_griffin.ops import linear_scan
mesh = jax.make_mesh((2,), ("batch",))
rows = NamedSharding(mesh, PartitionSpec("batch"))
generator = np.random.default_rng(0)
decay, inputs = (jax.device_put(generator.uniform(0.5, 1.0, (4, 9, 3)).astype("float32"), rows) for _ in range(2))
gradient = jax.jit(jax.grad(lambda decay, inputs: linear_scan(decay, inputs)[0].sum(), (0, 1)))
lowered = gradient.lower(decay, inputs).compile()
assert not any(word in lowered.as_text() for word in ("all-gather", "all-reduce", "all-to-all"))
for got, wanted in zip(gradient(decay, inputs), gradient(np.asarray(decay), np.asarray(inputs))):
    assert len(got.sharding.device_set) == 2
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
"""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
