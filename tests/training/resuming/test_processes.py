"""What several processes do is tested in `tests/distribution/test_resuming.py`."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_griffin import backends
from keras_griffin.training import RandomWindows, ResumableRun
from keras_griffin.training.resuming.processes import Processes, all_processes
from tests.training.resuming.cut_off_run import make_model

BACKEND = keras.backend.backend()


def test_one_process_says_what_it_hears():
    alone = all_processes()
    assert (alone.index, alone.count, alone.is_writer) == (0, 1, True)
    assert alone.largest(3, 0) == [3, 0] and alone.texts("é") == ["é"]
    array = np.ones(3)
    assert alone.array_of(0, array, (3,), "float64") is array
    with pytest.raises(OSError, match="^full$"), alone.as_one():
        raise OSError("full")


def of_two(*, index=0, other=b""):
    """A process beside one that always answers with the same bytes, or numbers."""

    def gathered(array):
        beside = np.frombuffer(other, "uint8") if array.dtype == "uint8" else np.array([len(other)])
        return np.stack([array, np.resize(beside, array.shape).astype(array.dtype)])

    return Processes(index, 2, SimpleNamespace(gathered=gathered, sent=lambda array, source: array))


def test_texts_numbers_and_arrays_of_several():
    assert of_two(other=b"two words").texts("one") == ["one", "two words"]
    assert of_two(other=b"12345").largest(3) == [5]
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(of_two().array_of(0, array, (2, 3), "float64"), array)
    assert of_two(index=1).array_of(0, None, (0, 3), "float32").shape == (0, 3)


def test_what_one_fails_to_do_all_have_failed_to_do():
    with pytest.raises(RuntimeError, match="^ResumableRun: no process must fail. Got, in process 1 of 2: disk full$"):
        with of_two(other=b"disk full").as_one():
            pass
    with pytest.raises(ValueError, match="^its own$"), of_two(other=b"disk full").as_one():
        raise ValueError("its own")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a strategy of TensorFlow")
def test_several_workers_of_tensorflow_are_refused(tmp_path, monkeypatch):
    import tensorflow as tf

    class Strategy:
        cluster_resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": ["a:1", "b:1"]})
        )

    model = make_model()
    assert backends.active().process() == (0, 1)
    monkeypatch.setattr(tf.distribute, "get_strategy", Strategy)
    with pytest.raises(ValueError, match="on TensorFlow a run must have one process; .* Got a Strategy of 2 workers"):
        ResumableRun(tmp_path).fit(model, RandomWindows(np.arange(99), 4, 2, 2), 1)
