"""Two processes as two threads; `tests/distribution/test_resuming.py` has two that train."""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from keras_griffin.training.resuming.processes import (
    Processes,
    check_same_weights,
    gather_moment,
    share_facts,
    share_moment,
)
from keras_griffin.training.resuming.run_file import RunFile
from tests.training.resuming.cut_off_run import make_model

pytestmark = pytest.mark.any_backend


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


def gathered_of(first, second, states=({}, {})):
    facts = [{"step": 4, "callbacks": state} for state in states]
    return in_two(gather_moment, (first, second), facts)[0]


def shared(tensors, facts):
    saved = (RunFile(facts, tensors), None)

    def share(processes, saved):
        return share_moment(processes, saved, share_facts(processes, saved))

    return in_two(share, saved)


COMMON = {"model/0/a/kernel": np.arange(6.0).reshape(2, 3), "callbacks/Best 0/weights/0": np.ones(2)}


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


def test_what_is_not_the_same_is_kept_of_each():
    second = {"model/0/a_1/kernel": np.ones((2, 3)), "callbacks/Best 0/weights/0": np.zeros(2)}
    tensors, facts = gathered_of(COMMON, second)
    one, other = shared(tensors, facts)
    for got, given in ((one.tensors, COMMON), (other.tensors, second)):
        assert set(got) == set(given)
        for name in got:
            np.testing.assert_array_equal(got[name], given[name])


def test_from_a_run_of_one_process_all_get_what_there_is():
    for moment in shared(COMMON, {"step": 4, "callbacks": {"History 0": 1}}):
        assert set(moment.tensors) == set(COMMON) and moment.facts["callbacks"] == {"History 0": 1}
    assert in_two(share_facts, (None, None)) == [None, None]
    assert share_moment(Processes(), None, None) is None


def test_one_process_keeps_what_it_has():
    saved = RunFile({"step": 4}, COMMON)
    assert share_facts(Processes(), saved) is saved.facts and share_moment(Processes(), saved, saved.facts) is saved
    assert gather_moment(Processes(), COMMON, {})[0] is COMMON


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
