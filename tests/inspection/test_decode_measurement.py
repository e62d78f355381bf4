"""What is measured of decoding: sizes against the state's, and what is refused; of times only that there are some."""

import functools

import numpy as np
import pytest

from keras_griffin.inspection import cache_bytes, decode_measurement, measure_decoding, plot_decode_cost
from keras_griffin.models import Griffin, GriffinConfig, MQATransformer

pytestmark = pytest.mark.any_backend

CONFIG = GriffinConfig(vocabulary_size=16, width=16, num_layers=3, num_heads=2, window=4, num_gate_blocks=2)
CONTEXTS = (20, 4)


@functools.cache
def model(family):
    return family(CONFIG)


@functools.cache
def measured(family, batch_size):
    return measure_decoding(model(family), CONTEXTS, batch_size, steps=40, runs=2)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("family", [Griffin, MQATransformer])
def test_times_and_sizes_stand_in_the_order_of_the_contexts(family, batch_size):
    found = measured(family, batch_size)
    assert found.batch_size == batch_size and found.contexts.tolist() == list(CONTEXTS)
    assert found.seconds_per_step.shape == found.state_bytes.shape == (2,)
    assert np.all(found.seconds_per_step > 0) and np.all(np.isfinite(found.seconds_per_step))
    np.testing.assert_allclose(found.tokens_per_second * found.seconds_per_step, batch_size)


@pytest.mark.parametrize("family", [Griffin, MQATransformer])
def test_the_state_is_the_predicted_cache_and_little_more(family):
    one, three = measured(family, 1), measured(family, 3)
    np.testing.assert_array_equal(one.cache_bytes, three.cache_bytes)
    # Beside it the newest activation, a segment and a count, and a mark for each place.
    for context, size in zip(CONTEXTS, one.cache_bytes, strict=True):
        predicted = cache_bytes(model(family).config, max(context, CONFIG.window), "float32")
        assert predicted < size <= predicted + 16 * 4 + 8 + 3 * max(context, CONFIG.window)


def test_the_time_of_a_step_is_the_median_of_the_runs(monkeypatch):
    times = iter([9.0, 9.0, 4.0, 80.0, 8.0])
    monkeypatch.setattr(decode_measurement, "_seconds", lambda *_: next(times))
    assert measure_decoding(model(Griffin), [2], steps=32, runs=3).seconds_per_step.tolist() == [8 / 32]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"contexts": []}, r"there must be at least one context\. Got none"),
        ({"contexts": 8}, r"contexts must be a list of integers\. Got 8"),
        ({"contexts": [8, 0]}, r"context must be an integer of at least 1\. Got 0"),
        ({"batch_size": 0}, r"batch_size must be an integer of at least 1\. Got 0"),
        ({"steps": True}, r"steps must be an integer of at least 1\. Got True"),
        ({"runs": 0}, r"runs must be an integer of at least 1\. Got 0"),
        ({"model": "Griffin"}, r"the model must be a LanguageModel\. Got 'Griffin'"),
    ],
)
def test_what_is_refused(arguments, rule):
    with pytest.raises(ValueError, match=rf"^measure_decoding: {rule}\.$"):
        measure_decoding(**{"model": model(Griffin), "contexts": [4], **arguments})


def test_what_a_picture_refuses():
    pytest.importorskip("matplotlib")
    found = {"Griffin": measured(Griffin, 3)}
    with pytest.raises(ValueError, match=r"^plot_decode_cost: quantity must be one of the measured .* Got 'fits'"):
        plot_decode_cost({}, quantity="fits", batch_size=3, measured=found)
    with pytest.raises(ValueError, match=r"^plot_decode_cost: quantity must be one of the predicted .* Got 'device'\."):
        plot_decode_cost({"Griffin": CONFIG}, quantity="device")
    with pytest.raises(ValueError, match=r"^plot_decode_cost: configs must be a dict from names .* Got GriffinConfig"):
        plot_decode_cost(CONFIG)
    with pytest.raises(ValueError, match=r"^plot_decode_cost: measured must be a dict from names .* Got Decoding"):
        plot_decode_cost({}, batch_size=3, measured=found["Griffin"])
    with pytest.raises(ValueError, match=r"^plot_decode_cost: batch_size must be that .* Got 1, and 3 of 'Griffin'\.$"):
        plot_decode_cost({}, measured=found)
