import socket

import keras
import pytest

from tests.distribution.eight_devices import assert_they_pass
from tests.distribution.processes import answers_of

BACKEND = keras.backend.backend()


@pytest.mark.skipif(BACKEND != "jax", reason="Keras's distribution is JAX's alone")
@pytest.mark.slow
def test_on_eight_devices():
    assert_they_pass("resuming")


@pytest.mark.skipif(BACKEND not in ("jax", "torch"), reason="TensorFlow has runs of one process")
@pytest.mark.parametrize("weights", ["whole", "divided"])
@pytest.mark.slow
def test_two_processes_end_after_one_batch_and_go_on_with_the_same_one(tmp_path, weights):
    if weights == "divided" and BACKEND != "torch":
        pytest.skip("fully_shard is PyTorch's")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}" if BACKEND == "jax" else tmp_path / "place"
    runs = [(tmp_path, place, index, weights) for index in (0, 1)]
    answers = answers_of("resuming_in_two_processes", *runs)
    for index, answer in enumerate(answers):
        assert (answer["code"], answer["step"]) == (143, 6)
        # On PyTorch each process knows the loss of its own rows.
        assert answer["resumed history"] == answer["history"]
        assert answer["same values"]
        assert answer["another seed"].endswith("Got shares.process 1.data.data.seed 1 instead of nothing.")
        assert "ResumableRun: " in answer["no folder"] and ("process 0 of 2: " in answer["no folder"]) == (index == 1)
    if BACKEND == "torch":
        assert answers[0]["history"]["loss"] != answers[1]["history"]["loss"]
        sentence = (
            "the processes of a run must begin with the same weights, by keras.utils.set_random_seed or from a file."
        )
        for answer in answers if weights == "whole" else ():
            assert answer["stopped"] == 6
            assert answer["other weights"].startswith(
                f"ResumableRun: {sentence} Got different ones in process 1: final_norm/"
            )
