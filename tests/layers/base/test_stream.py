"""Streams: what a call of temporal layers starts from, and where it stops."""

import threading

import keras
import numpy as np
import pytest

from keras_griffin.layers import RGLRU
from keras_griffin.layers.base.stream import Stream, active_stream, streamed
from keras_griffin.models import SequenceEncoder
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

SAMPLES = np.random.default_rng(0).normal(size=(2, 7, 4)).astype("float32")


def test_a_call_continues_where_the_one_before_it_stopped():
    x = keras.Input((None, 4))
    model = keras.Model(x, RGLRU(return_sequences=True)(SequenceEncoder(4, 1)(x)))
    parts, state = [], None
    for part in (SAMPLES[:, :3], SAMPLES[:, 3:]):
        with streamed(Stream(state)) as stream:
            parts.append(as_array(model(part)))
        state = stream.after
    assert [type(layer).__name__ for layer in stream.layers] == ["SequenceEncoder", "RGLRU"]
    assert_close(np.concatenate(parts, axis=1), as_array(model(SAMPLES)))


def test_a_mask_of_the_layer_before_is_seen():
    samples = SAMPLES.copy()
    samples[:, 2] = 0
    x = keras.Input((None, 4))
    model = keras.Model(x, RGLRU(return_sequences=True)(keras.layers.Masking()(x)))
    with streamed(Stream()):
        found = as_array(model(samples))
    assert_close(found[:, 3:], as_array(model(samples))[:, 3:])


def test_a_stream_is_of_its_block_and_thread_alone():
    seen = []
    with streamed(Stream()) as outer:
        with pytest.raises(KeyError), streamed(Stream()):
            raise KeyError
        assert active_stream() is outer
        thread = threading.Thread(target=lambda: seen.append(active_stream()))
        thread.start()
        thread.join()
    assert seen == [None] and active_stream() is None


@pytest.mark.parametrize("options", [{"go_backwards": True}, {"return_state": True}])
def test_layers_that_are_no_streams_say_so(options):
    layer = RGLRU(**options)
    layer.build(SAMPLES.shape)
    with (
        streamed(Stream()),
        pytest.raises(ValueError, match="^RGLRU: a stream has no go_backwards and no return_state. Got one.$"),
    ):
        layer(SAMPLES)
