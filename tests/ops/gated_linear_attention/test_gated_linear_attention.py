"""The contract of `gated_linear_attention` beyond its cases: gates of any strength, shared heads, errors, memory."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import gated_linear_attention
from keras_griffin.ops.gated_linear_attention import reference
from keras_griffin.ops.gated_linear_attention.heads import for_heads
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

B, T, N, H, P = 1, 130, 2, 4, 3
GENERATOR = np.random.default_rng(0)
QUERY, KEY = (GENERATOR.normal(size=(B, T, N, H)).astype("float32") for _ in range(2))
VALUE = GENERATOR.normal(size=(B, T, N, P)).astype("float32")
UNIFORM = GENERATOR.random((B, T, N, H))
#: Log decays of every strength, those of a chunk of equal strength and of both, and a decay of zero.
GATES = {
    "weak": -1e-3 * UNIFORM,
    "usual": np.log(UNIFORM),
    "strong": -20.0 * UNIFORM,
    "stronger": -3e3 * UNIFORM,
    "mixed": -np.exp(12.0 * UNIFORM - 8.0),
    "none or all": np.where(UNIFORM < 0.5, 0.0, -np.inf),
}


def common_form(query, key, value, log_decay):
    """The usual form of one chunk, (q exp(l)) (k exp(-l))^T v, with l the cumulated log decays, in float32."""
    sums = np.cumsum(log_decay, axis=1, dtype="float32")
    with np.errstate(over="ignore", invalid="ignore"):
        scores = np.einsum("btnh,bsnh->bnts", query * np.exp(sums), key * np.exp(-sums))
        return np.einsum("bnts,bsnp->btnp", scores * np.tril(np.ones(scores.shape[-2:])), value)


@pytest.mark.parametrize("name", GATES)
def test_gates_of_any_strength(name):
    gates = GATES[name].astype("float32")
    arguments = QUERY, KEY, VALUE, gates
    expected, expected_state = reference.definition(*arguments)
    outputs, state = gated_linear_attention(*arguments)
    for got, wanted in ((outputs, expected), (state, expected_state)):
        assert np.abs(as_array(got) - wanted).max() <= 1e-6 * np.abs(wanted).max()
    assert np.isnan(common_form(*(x[:, :64] for x in arguments))).any() == (name not in ("weak", "usual"))


@pytest.mark.trainable
@pytest.mark.parametrize("name", ["strong", "mixed"])
def test_gradients_at_gates_of_any_strength(name):
    arguments = QUERY, KEY, VALUE, GATES[name].astype("float32")
    weights = GENERATOR.normal(size=VALUE.shape).astype("float32")
    _, gradients = value_and_gradient(
        lambda *x: ops.sum(gated_linear_attention(*x)[0] * ops.convert_to_tensor(weights)), *arguments
    )
    expected = reference.gradient(weights, np.zeros((B, N, H, P)), *arguments)
    for got, wanted in zip(gradients, expected, strict=True):
        assert np.abs(got - wanted).max() <= 2e-6 * np.abs(wanted).max()


def test_decays_of_every_shape():
    one = -GENERATOR.random(N).astype("float32")
    by_head = np.broadcast_to(one, (B, T, N))
    expected = gated_linear_attention(QUERY, KEY, VALUE, np.repeat(by_head[..., None], H, axis=3))
    for log_decay in (one, by_head, by_head[..., None]):
        for got, wanted in zip(gated_linear_attention(QUERY, KEY, VALUE, log_decay), expected, strict=True):
            assert_close(got, as_array(wanted))
    sums = np.cumsum(np.einsum("btnh,btnp->btnhp", KEY.astype("float64"), VALUE), axis=1)
    assert_close(gated_linear_attention(QUERY, KEY, VALUE)[0], np.einsum("btnh,btnhp->btnp", QUERY, sums))


def test_angles_turn_like_positions():
    """A stream of single steps meets the same rotations as queries and keys that are turned by their position."""
    # Sums of them over a chunk are large, and as large a rounding error would be seen.
    angles = np.array([2.9, 0.3], "float32")
    turns = np.exp(1j * np.arange(T)[:, None, None] * angles.astype("float64"))

    def turned(x):
        turn = (x[..., :2] + 1j * x[..., 2:]) / turns
        return np.concatenate([turn.real, turn.imag], axis=-1)

    expected, _ = reference.definition(turned(QUERY), turned(KEY), VALUE, np.full((B, T, N, 1), -0.1))
    log_decay = np.full(N, -0.1, "float32")
    outputs, state = gated_linear_attention(QUERY, KEY, VALUE, log_decay, angles=angles)
    assert np.abs(as_array(outputs) - expected).max() <= 2e-6 * np.abs(expected).max()
    carried = None
    for t in range(T):
        step = (x[:, t : t + 1] for x in (QUERY, KEY, VALUE))
        output, carried = gated_linear_attention(*step, log_decay, carried, angles=angles)
        assert_close(output, expected[:, t : t + 1])
    assert_close(carried, as_array(state))


def test_symbolic():
    query, key, value = (keras.KerasTensor((None, None, N, size)) for size in (H, H, P))
    outputs, state = gated_linear_attention(query, key, value, -ops.softplus(query))
    assert outputs.shape == (None, None, N, P) and state.shape == (None, N, H, P)


def test_heads_that_are_shared():
    few, many = QUERY[:, :, :1], np.concatenate([QUERY[:, :, :1]] * N, axis=2)
    np.testing.assert_array_equal(as_array(for_heads(few, N)), many)
    assert for_heads(many, N) is many


def test_errors():
    cases = [
        ((QUERY[0], KEY, VALUE), {}, r"query and key must have shape \(B, T, G, H\) and value \(B, T, N, P\)"),
        ((QUERY, KEY[..., :3], VALUE), {}, r"key must have shape \(1, 130, 2, 4\)"),
        ((QUERY, KEY, np.repeat(VALUE, 2, 2)[:, :, :3]), {}, "the heads of query and key must divide those of value"),
        ((QUERY, KEY, VALUE, UNIFORM[..., :3]), {}, r"log_decay must have shape \(2,\), \(B, T, 2\) or"),
        ((QUERY, KEY, VALUE), {"angles": np.ones(3, "float32")}, "angles must have one number for each pair"),
        ((QUERY, KEY, VALUE, GATES["usual"]), {"angles": np.ones(2, "float32")}, "and no log_decay for each channel"),
        ((QUERY, KEY, VALUE), {"reset": np.ones((B, 3), bool)}, "reset must be boolean"),
    ]
    for arguments, options, sentence in cases:
        with pytest.raises(ValueError, match=f"^gated_linear_attention: .*{sentence}"):
            gated_linear_attention(*arguments, **options)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX tells what a program needs")
def test_memory_of_a_training_step_is_linear_in_time():
    import jax

    def memory(length):
        shapes = [jax.ShapeDtypeStruct((1, length, 2, size), "float32") for size in (16, 16, 16, 16)]
        loss = lambda *x: ops.sum(gated_linear_attention(*x)[0] ** 2)  # noqa: E731
        program = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3))).lower(*shapes).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert memory(16384) <= 1.1 * 16 * memory(1024)
