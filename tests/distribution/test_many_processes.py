"""One model on several processes, or on TensorFlow's devices, has the losses that it has in one."""

import socket

import keras
import numpy as np
import pytest

from tests.distribution.processes import answers_of

BACKEND = keras.backend.backend()


def assert_same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution is JAX's alone")
@pytest.mark.slow
def test_two_processes_of_jax_train_one_model():
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{end.getsockname()[1]}" for end in (free, other)]
    kinds = zip(("DataParallel", "split"), addresses, strict=True)
    runs = [("one", "-", 1, 0), *((kind, address, 2, index) for kind, address in kinds for index in (0, 1))]
    one, *many = answers_of("in_two_processes", *runs)
    assert [answer["rows"] for answer in many] == [4, 4, 8, 8]
    for answer in many:
        assert_same(answer["losses"], one["losses"])
    assert one["losses"][1] < one["losses"][0]


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's processes")
@pytest.mark.slow
def test_two_processes_of_pytorch_train_one_model(tmp_path):
    script = "data_parallel_processes"
    runs = [(tmp_path / "alone", 1, 0), (tmp_path / "together", 2, 0), (tmp_path / "together", 2, 1)]
    one, *two = answers_of(script, *runs)
    for way in ("loop", "fit"):
        for answer in two:
            assert_same(answer[way], one[way])
        assert one[way][-1] < one[way][0]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's strategies")
@pytest.mark.slow
def test_a_mirrored_strategy_of_tensorflow_trains_one_model():
    (answer,) = answers_of("mirrored", [])
    assert answer["replicas"] == 2
    for name, expected in answer["one device"].items():
        assert_same(answer["mirrored"][name], expected)
        assert expected[1] < expected[0]
    # With unequal weights Keras, and we with it, take the mean of the replicas' means.
    assert_same(answer["unequal weights"], [answer["mean of halves"]] * 2)
    assert abs(answer["mean of halves"] - answer["unequal weights, one device"]) > 1e-4
    assert answer["dropped"] == 0
    assert "must not be divided by a strategy of TensorFlow. Got one of 2 replicas." in answer["carried"]
    # TensorFlow's own; the day that it works, docs/guides/scale.md is to say so.
    assert "merge_call" in answer["accumulated"]
