"""Two processes as two threads; `tests/distribution/test_resuming.py` has two that train."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_griffin import backends
from keras_griffin.distribution import LocalRows
from keras_griffin.training import RandomWindows, ResumableRun
from keras_griffin.training.resuming.processes import Processes, all_processes
from keras_griffin.training.resuming.run_description import describe_fit, describe_run
from keras_griffin.training.resuming.run_file import RunFile
from keras_griffin.training.resuming.shares import (
    check_rows,
    check_same_settings,
    check_same_weights,
    describe_layout,
    gather_snapshot,
    share_facts,
    share_snapshot,
)
from tests.training.resuming.cut_off_run import make_model

any_backend = pytest.mark.any_backend


class Exchange:
    """A backend of two threads, which wait for one another."""

    def __init__(self):
        self.barrier, self.arrays = threading.Barrier(2, timeout=10), {}

    def of(self, index):
        exchange = self

        class Backend:
            @staticmethod
            def gathered(array):
                exchange.arrays[index] = array
                exchange.barrier.wait()
                both = np.stack([exchange.arrays[0], exchange.arrays[1]])
                exchange.barrier.wait()
                return both

            @staticmethod
            def sent(array, source):
                return Backend.gathered(array)[source]

        return Processes(index, 2, Backend)


def in_two(act, *arguments):
    """What two processes give, each for its own of each pair of arguments."""
    exchange = Exchange()
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(act, exchange.of(i), *(pair[i] for pair in arguments)) for i in (0, 1)]
    return [answer.result() for answer in answers]


@any_backend
def test_texts_numbers_and_arrays_of_several():
    assert in_two(Processes.texts, ("é", "two words")) == 2 * [["é", "two words"]]
    assert in_two(Processes.largest, (3, 2), (0, 5)) == 2 * [[3, 5]]
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((0, 3))):
        answers = in_two(Processes.array_of, (0, 0), (array, None), 2 * [array.shape], 2 * ["float64"])
        np.testing.assert_array_equal(answers, [array, array])


@any_backend
def test_if_one_fails_all_fail():
    def act(processes, message):
        try:
            with processes.as_one():
                if message:
                    raise ValueError(message)
        except (RuntimeError, ValueError) as error:
            return type(error), str(error)

    sentence = "ResumableRun: no process must fail. Got, in process 1 of 2: disk full"
    assert in_two(act, (None, "disk full")) == [(RuntimeError, sentence), (ValueError, "disk full")]
    assert in_two(act, (None, None)) == [None, None]


def gathered_of(first, second, states=({}, {})):
    facts = [{"step": 4, "callbacks": state} for state in states]
    return in_two(gather_snapshot, (first, second), facts)[0]


def shared(tensors, facts):
    def share(processes, saved):
        return share_snapshot(processes, saved, share_facts(processes, saved))

    return in_two(share, (RunFile(facts, tensors), None))


COMMON = {"model/0/a/kernel": np.arange(6.0).reshape(2, 3), "callbacks/Best 0/weights/0": np.ones(2)}


@any_backend
def test_what_is_the_same_is_kept_once_and_each_process_gets_its_own():
    first = {**COMMON, "metrics/0/loss": np.array(1.0)}
    # Keras may have numbered its layers otherwise, and a callback of the first process knows nothing here.
    second = {"model/0/a_1/kernel": COMMON["model/0/a/kernel"], "metrics/0/loss": np.array(2.0)}
    tensors, facts = gathered_of(first, second, ({"History 0": 1}, {"History 0": np.float32(2)}))
    assert set(tensors) == {*first, "process/1/metrics/0/loss"}
    one, other = shared(tensors, facts)
    assert set(one.tensors) == set(first) and one.facts["callbacks"] == {"History 0": 1}
    assert set(other.tensors) == {"model/0/a/kernel", "metrics/0/loss"}
    assert other.facts["callbacks"] == {"History 0": 2} and other.tensors["metrics/0/loss"] == 2
    np.testing.assert_array_equal(other.tensors["model/0/a/kernel"], first["model/0/a/kernel"])


@any_backend
def test_what_is_not_the_same_is_kept_of_each():
    second = {"model/0/a_1/kernel": np.ones((2, 3)), "callbacks/Best 0/weights/0": np.zeros(2)}
    for got, given in zip(shared(*gathered_of(COMMON, second)), (COMMON, second), strict=True):
        assert set(got.tensors) == set(given)
        for name in given:
            np.testing.assert_array_equal(got.tensors[name], given[name])


@any_backend
def test_from_a_run_of_one_process_all_get_what_there_is():
    for snapshot in shared(COMMON, {"step": 4, "callbacks": {"History 0": 1}}):
        assert set(snapshot.tensors) == set(COMMON) and snapshot.facts["callbacks"] == {"History 0": 1}
    assert in_two(share_facts, (None, None)) == [None, None]


@any_backend
def test_from_another_number_of_processes_all_get_what_the_first_had():
    tensors = {**COMMON, "process/1/metrics/0/loss": np.array(2.0), "metrics/0/loss": np.array(1.0)}
    others = {"1": {"callbacks": {"History 0": 2}, "arrays_of_callbacks": []}}
    for snapshot in shared(tensors, {"callbacks": {"History 0": 1}, "count": 3, "others": others}):
        assert set(snapshot.tensors) == {*COMMON, "metrics/0/loss"} and snapshot.tensors["metrics/0/loss"] == 1
        assert snapshot.facts["callbacks"] == {"History 0": 1}


@any_backend
def test_rows_are_gathered_in_order_and_divided_again():
    rows = [keras.Variable(np.arange(6).reshape(3, 2) + start, dtype="bfloat16") for start in (0, 6)]
    for whole in in_two(Processes.whole, rows, (True, True)):
        np.testing.assert_array_equal(whole.astype("float32"), np.arange(12).reshape(6, 2))
    assert [own.tolist() for own in in_two(Processes.own_rows, 2 * [np.arange(6)])] == [[0, 1, 2], [3, 4, 5]]


@any_backend
def test_rows_that_are_read_twice_or_never_are_refused():
    windows = RandomWindows(np.arange(99), 4, 2, 2)
    in_two(check_rows, [LocalRows(windows, index, 2) for index in (0, 1)])
    in_two(check_rows, (windows, windows))
    with pytest.raises(ValueError, match="each part of a batch, .* Got parts 0 of 2, 0 of 2 in processes 0 to 1."):
        in_two(check_rows, [LocalRows(windows, 0, 2) for _ in range(2)])


def settings_of(index, rows=None, num_batches=2, seed=0, save_every=5, validated=3, weights="whole", replica=None):
    """What a process says of its run, of `LocalRows` where `rows` is True."""
    model = keras.Sequential([keras.Input((4,), dtype="int32"), keras.layers.Embedding(99, 2)])
    model.compile("sgd", "mse")
    windows, held_out = (RandomWindows(np.arange(99), 4, 2, count, seed=seed) for count in (num_batches, validated))
    data, validation = (LocalRows(each, index, 2) if rows else each for each in (windows, held_out))
    division = {"replica": None if rows else index if replica is None else replica, "weights": {"0": weights}}
    return {**describe_run(model, data), **describe_fit(data, validation, {"save_every": save_every}), **division}


@any_backend
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"rows": True}, None),
        ({"save_every": 7}, "fit.save_every 7 instead of 5"),
        ({"rows": True, "seed": 1}, "data.seed 1 instead of 0, fit.validation_data.seed 1 instead of 0"),
        ({"rows": True, "validated": 4}, "fit.validation_data.num_batches 4 instead of 3"),
        ({"validated": 4}, "fit.validation_data.num_batches 4 instead of 3"),
        # Each replica may have data of its own, but not more batches.
        ({"seed": 1}, None),
        ({"seed": 1, "replica": 0}, "data.seed 1 instead of 0"),
        ({"num_batches": 3}, "num_batches 3 instead of 2"),
        ({"rows": True, "num_batches": 3}, "data.num_batches 3 instead of 2"),
        ({"weights": "halves"}, 'weights.0 "halves" instead of "whole"'),
    ],
)
def test_processes_that_would_do_other_steps_are_refused(changes, sentence):
    settings = [settings_of(0, changes.get("rows")), settings_of(1, **changes)]
    if sentence is None:
        check_same_settings(settings)
        return
    with pytest.raises(ValueError, match=rf"process 1 must have the settings of process 0\. Got {sentence}\.$"):
        check_same_settings(settings)


@any_backend
def test_processes_of_one_replica_have_its_data():
    """The second replica's first process has data of its own, which its second one must have, too."""
    first, own, other = settings_of(0), settings_of(1, seed=1, replica=1), settings_of(1, seed=2, replica=1)
    check_same_settings([first, first, own, own])
    with pytest.raises(ValueError, match="process 3 must have the settings of process 2. Got data.seed 2 instead of 1"):
        check_same_settings([first, first, own, other])


@any_backend
def test_a_division_names_the_rows_and_how_weights_are_divided():
    model, data = make_model(), RandomWindows(np.arange(99), 4, 2, 2)
    whole = {str(index): "whole" for index in range(len(model.weights))}
    assert describe_layout(all_processes(), model, data) == {"replica": 0, "weights": whole}
    assert describe_layout(all_processes(), model, LocalRows(data, 0, 2)) == {"replica": None, "weights": whole}


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a mesh of JAX")
def test_a_division_names_the_axes_of_a_mesh():
    import jax

    mesh = jax.make_mesh((1, 1), ("batch", "model"))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "model"))
    model = SimpleNamespace(weights=[SimpleNamespace(value=jax.device_put(np.ones((2, 2)), sharding))])
    weights = describe_layout(all_processes(), model, RandomWindows(np.arange(99), 4, 2, 2))["weights"]
    assert weights == {"0": "(None, 'model') on {'batch': 1, 'model': 1}"}


@any_backend
def test_one_process_keeps_what_it_has():
    alone, saved, array = all_processes(), RunFile({"step": 4}, COMMON), np.ones(3)
    assert (alone.index, alone.count, alone.is_writer) == (0, 1, True)
    assert alone.largest(3, 0) == [3, 0] and alone.texts("é") == ["é"]
    assert alone.array_of(0, array, (3,), "float64") is array
    with pytest.raises(OSError, match="^full$"), alone.as_one():
        raise OSError("full")
    assert share_facts(alone, saved) is saved.facts and share_snapshot(alone, saved, saved.facts) is saved
    assert share_snapshot(alone, None, None) is None and gather_snapshot(alone, COMMON, {})[0] is COMMON


@any_backend
def test_other_weights_in_another_process_are_refused():
    models = make_model(), make_model()
    in_two(check_same_weights, models)
    kernel = models[1].layers[-1].kernel
    kernel.assign(keras.ops.zeros_like(kernel.value))
    sentence = (
        "ResumableRun: the processes .* must begin with the same weights, .* Got different ones in process 1: .*kernel"
    )
    with pytest.raises(ValueError, match=sentence):
        in_two(check_same_weights, models)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a strategy of TensorFlow")
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
