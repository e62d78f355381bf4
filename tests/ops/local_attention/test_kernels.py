"""The kernels of other devices against the definition, interpreted: what they compute, not how fast."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.implementation import explain
from keras_griffin.ops.local_attention import local_attention, reference
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.ops.local_attention.cases import CASES, arguments_of, gradients_of, marks_of, poisoned, unseen_of

#: No kernel of PyTorch's has narrower heads.
CHANNELS = 16

pytestmark = [
    pytest.mark.trainable,
    # PyTorch's compiler, which flex_attention asks even in eager mode, looks at every attribute of its arguments.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning"),
]


def is_chosen(kernel, dtype="float32"):
    return kernel.__name__.endswith("." + explain("local_attention", (3, 7, 4, CHANNELS), dtype).chosen)


@pytest.mark.parametrize(
    ("case", "marks", "dtype"),
    [
        ("newest of many keys", "both", "float32"),
        ("blocks of a kernel", "neither", "float32"),
        ("blocks of a kernel", "both", "float32"),
        ("blocks", "mask", "bfloat16"),
    ],
)
def test_values_and_gradients(kernel, case, marks, dtype):
    (arguments, weights), window = arguments_of(case, dtype, CHANNELS), CASES[case][2]
    marks = marks_of(marks, case)
    assert is_chosen(kernel, dtype)
    actual = local_attention(*(ops.cast(x, dtype) for x in arguments), window, **marks)
    assert_close(actual, reference.local_attention(*arguments, window, **marks), dtype)
    actual = gradients_of(arguments, weights, window, marks, dtype)
    expected = reference.local_attention_gradient(weights, *arguments, window, **marks)
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, dtype)


@pytest.mark.parametrize("marks", ["mask", "both"])
def test_what_is_not_seen_has_no_influence(kernel, marks):
    case = "blocks after history"
    (arguments, weights), window, marks = arguments_of(case, channels=CHANNELS), CASES[case][2], marks_of(marks, case)
    unseen = unseen_of(case, marks["mask"])
    bad = poisoned(arguments, unseen)
    later = (unseen & marks["mask"])[:, -weights.shape[1] :, None, None]
    actual = as_array(local_attention(*bad, window, **marks))
    expected = reference.local_attention(*arguments, window, **marks)
    assert_close(np.where(later, 0, actual), np.where(later, 0, expected), "float32")
    assert later.any() and np.isnan(actual[later[..., 0, 0]]).all()
    weights = np.where(unseen[:, -weights.shape[1] :, None, None], 0, weights).astype("float32")
    actual = gradients_of(bad, weights, window, marks)
    expected = reference.local_attention_gradient(weights, *arguments, window, **marks)
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, "float32")


def test_what_comes_back_to_a_query_touches_what_it_sees(kernel):
    (arguments, weights), (*_, window, _) = arguments_of("blocks", channels=CHANNELS), CASES["blocks"]
    wrong = weights.copy()
    wrong[:, 30, 0, :2], weights[:, 30] = [np.nan, 3e38], 0
    actual = gradients_of(arguments, wrong, window, {})
    expected = reference.local_attention_gradient(weights, *arguments, window)
    for one, other, seen in zip(actual, expected, [slice(30, 31), *2 * [slice(31 - window, 31)]], strict=True):
        assert np.isnan(one[:, seen]).all()
        one[:, seen] = other[:, seen] = 0
        assert_close(one, other, "float32")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_query_that_sees_what_is_not_finite_is_lost(kernel, place):
    arguments, (length, _, window, _) = arguments_of("blocks", channels=CHANNELS)[0], CASES["blocks"]
    arguments[place][:, 2] = np.inf
    lost = np.arange(length) == 2 if place == 0 else (np.arange(length) >= 2) & (np.arange(length) < 2 + window)
    actual = as_array(local_attention(*arguments, window))
    np.testing.assert_array_equal(np.isnan(actual), np.broadcast_to(lost[:, None, None], actual.shape))


def test_large_logits_do_no_harm(kernel):
    (query, key, value), window = arguments_of("blocks", channels=CHANNELS)[0], 7
    key = np.repeat(key[:, :1], 65, axis=1)
    expected = reference.local_attention(0 * query, key, value, window)
    assert_close(local_attention(1e6 * query, key, value, window), expected)
