import json

import ml_dtypes
import numpy as np
import pytest

from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.training.resuming.run_file import read_run, write_run

pytestmark = pytest.mark.any_backend

TENSORS = {
    "model/0/kernel": np.arange(6, dtype="float32").reshape(2, 3),
    "model/1/half": np.array([1.5, -2.0], ml_dtypes.bfloat16),
    "optimizer/0/iterations": np.array(7, "int32"),
    "optimizer/1/seed": np.array([1, 2**32 - 1], "uint32"),
    "optimizer/2/flag": np.array([True, False]),
    "optimizer/3/none": np.zeros((0, 4), "float32"),
}
FACTS = {"step": 7, "loss": 0.1 + 0.2, "best": float("inf"), "text": "é\n", "none": None}


@pytest.fixture
def path(tmp_path):
    write_run(tmp_path / "run", TENSORS, FACTS)
    return tmp_path / "run"


def test_every_bit_comes_back(path):
    facts, tensors = read_run(path)
    assert facts == FACTS
    assert set(tensors) == set(TENSORS)
    for name, array in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (array.dtype, array.shape)
        assert tensors[name].tobytes() == array.tobytes()


def test_a_file_that_was_cut_and_every_changed_byte_are_found(path):
    """The padding of the header may change; everything else may not."""
    whole = path.read_bytes()
    found = 0
    places = range(0, len(whole), 3)
    for share in (0.0, 0.3, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match="SafeTensors: "):
            read_run(path)
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0x11
        path.write_bytes(damaged)
        try:
            facts, tensors = read_run(path)
        except ValueError:
            found += 1
            continue
        assert facts == FACTS
        assert {name: tensors[name].tobytes() for name in tensors} == {
            name: array.tobytes() for name, array in TENSORS.items()
        }
    assert found >= len(places) - 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda metadata, tensors: metadata.update(format="pt"),
            "the format must be 'keras_griffin run 1'. Got 'pt'.",
        ),
        (lambda metadata, tensors: metadata.update(crc32="1"), "the checksum must match the facts"),
        (lambda metadata, tensors: tensors.update(more=np.zeros(1)), "the header must have the tensors"),
        (lambda metadata, tensors: tensors.update(a=np.ones(2)), "the checksum must match the bytes of a"),
    ],
)
def test_each_damage_has_its_sentence(tmp_path, change, sentence):
    # A scalar of NumPy becomes a number.
    write_run(tmp_path / "run", {"a": np.zeros(2)}, {"best": np.float32(0.5)})
    metadata = dict(SafeTensors(tmp_path / "run").metadata)
    assert json.loads(metadata["facts"])["facts"] == {"best": 0.5}
    tensors = {"a": np.zeros(2)}
    change(metadata, tensors)
    write_safetensors(tmp_path / "run", tensors, metadata=metadata)
    with pytest.raises(ValueError, match=f"read_run: {sentence}"):
        read_run(tmp_path / "run")
