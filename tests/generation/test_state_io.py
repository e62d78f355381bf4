import json
import os
import subprocess
import sys
import zlib
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from keras_griffin import layers, mixers
from keras_griffin.files.safetensors import write_safetensors
from keras_griffin.generation import load_state, save_state
from keras_griffin.generation.state_io import (
    FORMAT,
    STATE_TYPES,
    _sum,
    register_state_type,
    state_from_bytes,
    state_to_bytes,
)
from keras_griffin.models import Griffin, GriffinConfig, MQATransformer
from keras_griffin.testing.arrays import as_array
from tests.next_backend import next_backend

CONFIG = GriffinConfig(
    vocabulary_size=11, width=16, num_layers=2, num_heads=2, window=4, block_pattern=("recurrent", "local_mqa")
)
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 1, 2]]


def assert_same(state, other):
    assert type(state) is type(other)
    for ours, theirs in zip(keras.tree.flatten(state), keras.tree.flatten(other), strict=True):
        assert keras.backend.standardize_dtype(ours.dtype) == keras.backend.standardize_dtype(theirs.dtype)
        np.testing.assert_array_equal(as_array(ours), as_array(theirs))


@pytest.mark.parametrize(("family", "dtype"), [(Griffin, "bfloat16"), (MQATransformer, "float32")])
def test_a_state_comes_back_as_it_was(tmp_path, family, dtype):
    model = family(CONFIG, dtype=dtype)
    state = model.prefill(ROWS)
    save_state(state, tmp_path / "state")
    loaded = load_state(tmp_path / "state")
    assert_same(loaded, state)
    content = state_to_bytes(state)
    assert content == (tmp_path / "state").read_bytes()
    assert_same(state_from_bytes(content), state)
    with pytest.raises(ValueError, match="^load_state: the file must be undamaged. Got bytes: the checksum of "):
        state_from_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for row, expected in zip(*(model.generate([[]] * 3, 4, state=s) for s in (loaded, state)), strict=True):
        np.testing.assert_array_equal(row, expected)


def test_the_state_of_a_layer_is_kept_too(tmp_path):
    layer = mixers.LocalMQA(2, 3)
    layer.build((None, None, 8))
    _, state = layer.advance(np.ones((1, 2, 8), "float32"), layer.initial_state(1))
    save_state(state, tmp_path / "state")
    assert_same(load_state(tmp_path / "state"), state)


def test_every_type_of_state_is_known():
    named = {name for package in (layers, mixers) for name in vars(package) if name.endswith("State")}
    assert named | {"LanguageModelState"} <= set(STATE_TYPES)


OTHER_BACKEND = """
import sys, keras_griffin
from keras_griffin.generation import load_state, save_state
save_state(load_state(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow
def test_the_next_backend_reads_and_writes_the_same(tmp_path):
    """To the last byte, and so all four."""
    state = Griffin(CONFIG, dtype="mixed_bfloat16").prefill(ROWS)
    save_state(state, tmp_path / "ours")
    command = [sys.executable, "-c", OTHER_BACKEND, tmp_path / "ours", tmp_path / "theirs"]
    environment = {"KERAS_BACKEND": next_backend(), "PYTHONPATH": ":".join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, check=True, env={**os.environ, **environment})
    assert_same(load_state(tmp_path / "theirs"), state)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_a_damaged_file_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "state"
    save_state(Griffin(CONFIG).prefill(ROWS), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:4], whole[:100], whole[:-1], whole + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^load_state: the file must be a valid safetensors file\. Got "):
            load_state(path)
    # One bit of the numbers; a kind's name, a shape, and what stands where.
    flipped = bytearray(whole)
    flipped[-1] ^= 64
    path.write_bytes(flipped)
    with pytest.raises(
        ValueError, match=r"^load_state: the file must be undamaged\. Got .*: the checksum of .* does not"
    ):
        load_state(path)
    for old, new in (
        (b"LocalMQAState", b"LocalMQBState"),
        (b"TemporalConvState", b"LanguageModelStat"),
        (b'"shape":[3,16]', b'"shape":[16,3]'),
        (b'last\\": \\"last', b'lost\\": \\"last'),
        (b'"sum"', b'"sun"'),
    ):
        assert whole.count(old)
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(ValueError, match=r"^load_state: the file must be undamaged\. Got .*"):
            load_state(path)


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ('{"type": "TemporalConvState", "parts": {"inputs": "cell"}}', "'cell'"),
        ('["hidden"]', "its kinds omit other"),
        ('"hidden"', "its kinds omit other"),
        ("[" * 40 + '"hidden"' + "]" * 40, "its kinds have more than 32 levels"),
        ("[" * 100_000 + '"hidden"' + "]" * 100_000, "maximum recursion depth exceeded"),
        ('{"type": "TemporalConvState", "parts": ["hidden"]}', "'list' object has no attribute"),
        ("3", "'int' object is not subscriptable"),
    ],
    ids=range(7),
)
def test_kinds_that_fit_no_state_are_refused(tmp_path, kinds, reason):
    arrays = {"hidden": np.ones(3, "float32"), "other": np.ones(2, "float32")}
    sums = json.dumps({name: zlib.crc32(array.tobytes()) for name, array in arrays.items()})
    metadata = {"format": FORMAT, "kinds": kinds, "crc32": sums}
    metadata["sum"] = _sum(metadata, {name: (array.dtype, array.shape) for name, array in arrays.items()})
    write_safetensors(tmp_path / "state", arrays, metadata=metadata)
    with pytest.raises(ValueError, match=f"^load_state: the file must be undamaged. Got .*{reason}"):
        load_state(tmp_path / "state")


def test_what_is_no_state_is_neither_saved_nor_loaded(tmp_path):
    for state in ([1], None, {"a": 1}, 5, ()):
        with pytest.raises(ValueError) as error:
            save_state(state, tmp_path / "state")
        assert str(error.value) == (
            f"save_state: the state must be a LanguageModelState, or that of a layer. Got {state!r}."
        )
    with pytest.raises(ValueError, match=r"^save_state: the state's parts must be tensors\. Got None at 0\.$"):
        save_state((None,), tmp_path / "state")
    write_safetensors(tmp_path / "tensors", {"a": np.ones(3)})
    with pytest.raises(ValueError, match=r"^load_state: .* must hold a '.*'\. Got 'tensors that are not a state' in "):
        load_state(tmp_path / "tensors")
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "nothing")


class OwnState(NamedTuple):
    """Of a mixer of one's own."""

    x: Any


def test_a_type_of_ones_own_is_registered(tmp_path):
    with pytest.raises(ValueError, match="^save_state: the state's types must be known; .* Got OwnState."):
        save_state(OwnState(np.ones(2, "float32")), tmp_path / "state")
    try:
        assert register_state_type(OwnState) is OwnState
        save_state(OwnState(keras.ops.ones(2)), tmp_path / "state")
        assert_same(load_state(tmp_path / "state"), OwnState(keras.ops.ones(2)))
        with pytest.raises(
            ValueError, match="^register_state_type: a name must belong to one type. Got a second type named Own"
        ):
            register_state_type(NamedTuple("OwnState", []))
    finally:
        STATE_TYPES.pop("OwnState")
