"""Local, global and sparse multi-query attention against dense attention in NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.mixers import GlobalMQA, LocalMQA, SparseMQA
from keras_griffin.mixers.global_mqa import GlobalMQARoom
from keras_griffin.mixers.sparse_mqa import SparseMQARoom
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.testing.gradients import value_and_gradient

INPUTS = np.random.default_rng(0).normal(size=(2, 9, 12)).astype("float32")


def rotated(heads, fraction, base):
    """The first channels of each head as complex numbers, turned by their position."""
    rotary = int(heads.shape[-1] * fraction)
    half = rotary // 2
    angles = np.arange(heads.shape[1])[:, None] * base ** (-np.arange(half) / half)
    turned = (heads[..., :half] + 1j * heads[..., half:rotary]) * np.exp(1j * angles)[:, None]
    return np.concatenate([turned.real, turned.imag, heads[..., rotary:]], axis=-1)


def dense(mixer, inputs, sees):
    """Attention as the definition reads, one query at a time, in float64; `sees(t, steps)` says which steps t sees."""
    query, key, value, output, bias = (np.asarray(w, "float64") for w in mixer.get_weights())
    batch_size, length, _ = inputs.shape
    groups = mixer.num_heads // mixer.num_key_value_heads
    q, k, v = ((inputs @ w).reshape(batch_size, length, -1, mixer.channels) for w in (query, key, value))
    q, k = (rotated(x, mixer.rotary_fraction, mixer.rotary_base) for x in (q, k))
    outputs = np.zeros_like(q)
    for b in range(batch_size):
        for t in range(length):
            for n in range(mixer.num_heads):
                seen = np.flatnonzero(sees(t, np.arange(t + 1)))
                logits = k[b, seen, n // groups] @ q[b, t, n] / np.sqrt(mixer.channels)
                weights = np.exp(logits - logits.max())
                outputs[b, t, n] = weights / weights.sum() @ v[b, seen, n // groups]
    return outputs.reshape(batch_size, length, -1) @ output + bias


def everything(t, steps):
    return steps <= t


def near(window):
    return lambda t, steps: t - steps < window


def made(mixer):
    mixer.build((None, None, 12))
    for i, weight in enumerate(mixer.weights):
        weight.assign(np.random.default_rng(i).normal(size=weight.shape) * 0.5)
    return mixer


OPTIONS = pytest.mark.parametrize(
    "options", [{}, {"num_heads": 6, "num_key_value_heads": 2, "head_dim": 4}, {"head_dim": 6, "rotary_fraction": 1.0}]
)


@OPTIONS
@pytest.mark.parametrize("window", [1, 3, 50])
def test_local(window, options):
    mixer = made(LocalMQA(**{"num_heads": 3, "window": window, "rotary_base": 100.0, **options}))
    assert_close(mixer(INPUTS), dense(mixer, INPUTS, near(window)))


@OPTIONS
def test_global(options):
    mixer = made(GlobalMQA(**{"num_heads": 3, "rotary_base": 100.0, **options}))
    assert_close(mixer(INPUTS), dense(mixer, INPUTS, everything))


#: The pattern, and a query's step and the steps up to it.
PATTERNS = {
    "strided": lambda t, steps, stride, ends: (t - steps < stride) | ((t - steps) % stride == 0),
    "fixed": lambda t, steps, stride, ends: (t // stride == steps // stride) | (steps % stride >= stride - ends),
}


@OPTIONS
@pytest.mark.parametrize(("pattern", "stride", "ends"), [("strided", 3, 8), ("fixed", 4, 2), ("fixed", 1, 1)])
def test_sparse(pattern, stride, ends, options):
    options = {"num_heads": 3, "rotary_base": 100.0, **options}
    mixer = made(SparseMQA(stride=stride, pattern=pattern, summary_steps=ends, **options))
    assert_close(mixer(INPUTS), dense(mixer, INPUTS, lambda t, steps: PATTERNS[pattern](t, steps, stride, ends)))


def test_the_state_is_a_ring_of_keys_that_are_rotated_by_their_place():
    """Step n stands in place n mod W, whatever it was written with."""
    mixer = made(LocalMQA(3, 4, rotary_fraction=0.0))
    advance = compiled(mixer.advance)
    length = INPUTS.shape[1]
    places = np.arange(length - 4, length) % 4
    keys = as_array(mixer.key(INPUTS))[:, -4:]
    for sizes in ([length], [1] * length, [2, 1, length - 3]):
        state = mixer.initial_state(2)
        for chunk in np.split(INPUTS, np.cumsum(sizes)[:-1], axis=1):
            _, state = advance(chunk, state)
        assert state.keys.shape == (2, 4, 1, 4)
        assert_close(as_array(state.keys)[:, places, 0], keys)
        np.testing.assert_array_equal(as_array(state.next_step), 4 + length % 4)


def test_a_stream_of_any_length_is_that_of_its_last_window():
    """No number in the state grows: what 10^8 steps leave is what a fresh stream of as many mod W leaves."""
    mixer = made(LocalMQA(3, 4, rotary_base=100.0))
    advance = compiled(mixer.advance)
    inputs = np.random.default_rng(1).normal(size=(2, 44, 12)).astype("float32")
    short = mixer.initial_state(2)
    _, long = advance(inputs[:, :32], short)
    for step in range(32, 44):
        (outputs, long), (_, short) = (advance(inputs[:, step : step + 1], state) for state in (long, short))
        assert_close(outputs, dense(mixer, inputs[:, step - 3 : step + 1], everything)[:, -1:])
        if step >= 35:
            assert_close(long.keys, as_array(short.keys))
            assert_close(long.values, as_array(short.values))
            np.testing.assert_array_equal(as_array(long.next_step), as_array(short.next_step))
            assert as_array(long.next_step).max() < 8


@pytest.mark.parametrize(("kind", "room"), [(GlobalMQA, GlobalMQARoom), (SparseMQA, SparseMQARoom)])
def test_a_state_with_room_is_of_its_own_type(kind, room):
    state = made(kind(3)).initial_state(2)
    larger = state.with_room(4)
    assert type(larger) is kind.room_type is room and larger.keys.shape[1] == 4
    assert type(larger.without_room(4)) is type(state) is kind.state_type


def test_messages():
    with pytest.raises(ValueError, match=r"LocalMQA: window must be an integer from 1 to 1073741823\. Got 10"):
        LocalMQA(3, 2**30)
    with pytest.raises(
        ValueError, match=r"GlobalMQA: num_key_value_heads must divide num_heads\. Got .* 2 and num_heads 3"
    ):
        GlobalMQA(3, num_key_value_heads=2)
    with pytest.raises(ValueError, match=r"SparseMQA: summary_steps must be an integer from 1 to the stride 4\. Got 5"):
        SparseMQA(3, 4, "fixed", 5)
    with pytest.raises(
        ValueError, match=r"LocalMQA: num_heads must divide the inputs' width .* Got num_heads 5 and width 12"
    ):
        LocalMQA(5, 4).build((None, None, 12))


RESET, MASK = np.zeros((2, 9), "bool"), np.ones((2, 9), "bool")
RESET[:, 4], MASK[:, 6] = True, False


def with_poison(x, value):
    """With the steps before the reset and at the masked step spoiled, but for row 1 before the reset."""
    x = x.copy()
    x[0, :3] = x[:, 6] = value
    return x


LATER = (slice(None), [4, 5, 7, 8])
EVERY_KIND = pytest.mark.parametrize(
    "make",
    [lambda: LocalMQA(3, 4), lambda: GlobalMQA(3), lambda: SparseMQA(3, 3), lambda: SparseMQA(3, 3, "fixed", 1)],
    ids=["local", "global", "strided", "fixed"],
)


@EVERY_KIND
# What NumPy says of infinity less infinity.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_touches_no_later_document(make):
    mixer = made(make())
    call, advance = compiled(mixer), compiled(mixer.advance)

    def outputs(inputs):
        """Of a whole sequence, and of the step after pieces of it, which sees what its document has kept."""
        _, masked = advance(inputs[:, :8], mixer.initial_state(2), reset=RESET[:, :8], mask=MASK[:, :8])
        _, plain = advance(inputs[:, :6], mixer.initial_state(2), reset=RESET[:, :6])
        steps = [as_array(advance(INPUTS[:, 8:], state)[0]) for state in (masked, plain)]
        return as_array(call(inputs, reset=RESET, mask=MASK)), *steps

    expected, *steps = outputs(INPUTS)
    for value in (np.nan, np.inf, 3e38):
        actual, *actual_steps = outputs(with_poison(INPUTS, value))
        assert_close(actual[LATER], expected[LATER])
        assert np.isfinite(actual[1, :4]).all() and not np.isfinite(actual[0, :4]).any()
        for one, other in zip(actual_steps, steps, strict=True):
            assert_close(one, other)


@pytest.mark.trainable
@EVERY_KIND
def test_what_comes_back_that_is_not_finite_touches_no_later_document(make):
    mixer = made(make())
    weights = np.random.default_rng(1).normal(size=INPUTS.shape).astype("float32")

    def gradient(weights):
        weights = ops.convert_to_tensor(weights)
        return value_and_gradient(lambda x: ops.sum(mixer(x, reset=RESET, mask=MASK) * weights), INPUTS)[1][0]

    # A masked query's output says nothing, but it has a gradient.
    expected = gradient(with_poison(weights, 0.0))
    for value in (np.nan, np.inf, 3e38):
        actual = gradient(with_poison(weights, value))
        assert_close(actual[LATER], expected[LATER])
        assert_close(actual[1, :4], expected[1, :4])
        assert np.isnan(actual[0, :3]).all()
