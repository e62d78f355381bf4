"""Compilation for TPUs; `tests/ops/test_rows.py` has the values."""

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

import jax
from jax import numpy as jnp
from jax.sharding import SingleDeviceSharding

from keras_griffin.ops import local_attention, use_implementation
from keras_griffin.ops.implementation import Facts, find_op
from keras_griffin.ops.local_attention import jax_splash_tpu
from keras_griffin.ops.local_attention.cases import PLAIN as CASES
from tests.ops.rows import pretend

SHAPE = (1, 7, 4, 4)
#: Dtype, queries, keys, window, channels, marks.
PLAIN = ("float32", 1024, 1024, 256, 256, ("segment_ids",))
MASKED = ("bfloat16", 1024, 1024, 256, 128, ("segment_ids", "mask"))
#: Queries that fill no whole blocks, after history, with heads so wide that the v4 has no memory for the usual blocks.
WIDE = ("float32", 1000, 3000, 1024, 512, ())
NARROW = ("bfloat16", 1000, 1000, 2048, 80, ())


@pytest.mark.parametrize(
    ("topology", "case"),
    [
        *(
            pytest.param(name, case, marks=[pytest.mark.exhaustive] * (name != "v5e:2x2"))
            for name in ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")
            for case in (PLAIN, MASKED)
        ),
        ("v4:2x2x1", WIDE),
        ("v5e:2x2", NARROW),
    ],
    indirect=["topology"],
)
def test_the_compiler_of_tpus_takes_it(monkeypatch, topology, case):
    op = find_op("local_attention")
    pretend(monkeypatch, op, op._named("jax_splash_tpu"))
    dtype, length, span, window, channels, marks = case
    sharding = SingleDeviceSharding(topology[0])
    query, key = (
        jax.ShapeDtypeStruct((1, steps, heads, channels), dtype, sharding=sharding)
        for steps, heads in ((length, 2), (span, 1))
    )
    dtypes = {"segment_ids": "int32", "mask": "bool"}
    marks = {name: jax.ShapeDtypeStruct((1, span), dtypes[name], sharding=sharding) for name in marks}

    def loss(query, key, value, marks):
        return jnp.sum(local_attention(query, key, value, window, **marks).astype("float32"))

    compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(query, key, key, marks).compile()
    program = compiled.as_text()
    # Forward, and the gradients for queries and for keys and values; nothing of the size of the logits.
    assert program.count('custom_call_target="tpu_custom_call"') == 3
    assert f"{length},{span}" not in program


@pytest.mark.parametrize(
    ("window", "channels", "length"),
    [(1, 256, 128), (256, 256, 128), (512, 64, 256), (1024, 256, 512), (2048, 512, 256), (4096, 4096, 128)],
)
def test_blocks_are_half_a_window_in_whole_lanes(window, channels, length):
    assert jax_splash_tpu.block_length(window, channels) == length


@pytest.mark.parametrize(
    ("device", "shape", "dtype", "reason"),
    [
        ("tpu", SHAPE, "float32", None),
        ("tpu", None, "bfloat16", None),
        ("cpu", SHAPE, "float32", "needs a TPU"),
        ("gpu", SHAPE, "float32", "needs a TPU"),
        ("tpu", SHAPE, "float64", "computes in float32 and bfloat16"),
        ("tpu", (1, None, 4, 4), "float32", "needs known sizes"),
    ],
)
def test_what_it_serves(device, shape, dtype, reason):
    assert jax_splash_tpu.supports(Facts("jax", device, shape, dtype)) == reason


def test_asked_for_where_it_cant_run():
    arguments = CASES["one block"].seen()
    with use_implementation("local_attention", "jax_splash_tpu"):
        with pytest.raises(ValueError, match="'jax_splash_tpu' must support the call. It needs a TPU"):
            local_attention(*arguments, 7)


@pytest.mark.parametrize("implementation", ["jax_splash_tpu"])
def test_a_call_outside_of_compiled_functions_is_compiled_once(implementation, monkeypatch):
    arguments = [jnp.asarray(x, "float32") for x in CASES["one block"].seen()]
    local_attention(*arguments, 7)
    monkeypatch.setattr(jax_splash_tpu.splash.splash_attention_kernel, "_splash_attention_forward", None)
    local_attention(*arguments, 7)
