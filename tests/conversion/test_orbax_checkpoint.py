import ml_dtypes
import numpy as np
import pytest

from keras_griffin.conversion.checkpoint import open_checkpoint

pytestmark = pytest.mark.any_backend

orbax = pytest.importorskip("orbax.checkpoint", reason="needs the extra orbax")
ARRAYS = {"w": np.arange(6, dtype="float32").reshape(2, 3), "b": np.arange(3).astype(ml_dtypes.bfloat16)}


def test_each_array_is_restored_alone(tmp_path, monkeypatch):
    orbax.PyTreeCheckpointer().save(tmp_path / "a", {"params": {"blocks.0": ARRAYS}})
    tensors = open_checkpoint(tmp_path / "a")
    assert set(tensors) == {"params.blocks.0.w", "params.blocks.0.b"}
    restore, restored = orbax.PyTreeCheckpointer.restore, []

    def noted(*args, **kwargs):
        restored.append(restore(*args, **kwargs))
        return restored[-1]

    monkeypatch.setattr(orbax.PyTreeCheckpointer, "restore", noted)
    for name, array in ARRAYS.items():
        tensor = tensors[f"params.blocks.0.{name}"]
        value = tensor.read()
        assert (tensor.shape, tensor.dtype, value.dtype) == (array.shape, array.dtype, array.dtype)
        np.testing.assert_array_equal(value, array)
        assert list(restored.pop()["params"]["blocks.0"]) == [name] and not restored


def test_what_is_no_whole_checkpoint_is_refused(tmp_path):
    (tmp_path / "_METADATA").write_text("{")
    with pytest.raises(
        ValueError, match=r"^open_checkpoint: the folder must be a valid Orbax checkpoint\. Got '.*'\.$"
    ):
        open_checkpoint(tmp_path)


def test_what_is_no_array_is_refused(tmp_path):
    orbax.PyTreeCheckpointer().save(tmp_path / "a", {"params": ARRAYS, "step": "three"})
    with pytest.raises(
        ValueError, match=r"^open_checkpoint: the leaves of an Orbax tree must be arrays\. Got a \w+ at step\.$"
    ):
        open_checkpoint(tmp_path / "a")
