import contextlib
import json
import os
import sys
import traceback
import zipfile

import ml_dtypes
import numpy as np
import pytest

from keras_griffin.conversion.checkpoint import is_checkpoint, open_checkpoint
from keras_griffin.files.safetensors import write_safetensors

pytestmark = pytest.mark.any_backend

ARRAYS = {
    "a.w": np.arange(6, dtype="float32").reshape(2, 3),
    "a.b": np.arange(3).astype(ml_dtypes.bfloat16),
    "empty": np.zeros((0, 2), "float16"),
}


def assert_opens(path, prefix=""):
    assert is_checkpoint(path)
    tensors = open_checkpoint(path)
    assert set(tensors) == {prefix + name for name in ARRAYS}
    for name, array in ARRAYS.items():
        tensor = tensors[prefix + name]
        assert (tensor.shape, tensor.dtype) == (array.shape, array.dtype)
        assert tensor.read().dtype == array.dtype
        np.testing.assert_array_equal(tensor.read(), array)


def refusal(path, error=ValueError):
    with pytest.raises(error) as caught:
        open_checkpoint(path)
    return str(caught.value)


def test_safetensors_in_a_folder_and_alone(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", ARRAYS)
    assert_opens(tmp_path)
    assert_opens(tmp_path / "model.safetensors")


def shards(folder, weight_map=None, **changes):
    for name, array in ARRAYS.items():
        write_safetensors(folder / f"{name}.safetensors", {name: array})
    weight_map = {name: f"{name}.safetensors" for name in ARRAYS} if weight_map is None else weight_map
    weight_map = {name: file for name, file in {**weight_map, **changes}.items() if file}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_shards(tmp_path):
    assert_opens(shards(tmp_path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"b": "b.safetensors"},
            "the shards must be in the folder of their index. Got '.*', which names b.safetensors.",
        ),
        ({"b": "../b"}, "the shards must be in the folder of their index. Got '.*', which names ../b."),
        ({"b": 3}, ".*"),
        ({"b": "a.b.safetensors"}, "the index must match its shards. Got 'a.b.safetensors', which differs."),
    ],
)
def test_an_index_must_be_that_of_its_shards(tmp_path, changes, sentence):
    (tmp_path / "folder").mkdir()
    folder = shards(tmp_path / "folder", **changes)
    with pytest.raises(ValueError, match=rf"^open_checkpoint: {sentence}$"):
        open_checkpoint(folder)


def test_an_index_that_is_none(tmp_path):
    for text in ("{", "[]", "{}", '{"weight_map": []}', "[" * 100_000):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        assert refusal(tmp_path).startswith("open_checkpoint: the index must have a weight_map. Got ")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    assert_opens(tmp_path / "a.npz")


def test_an_npz_that_is_none_or_would_run_something(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    assert refusal(tmp_path / "a.npz").startswith("open_checkpoint: the file must be a valid .npz of arrays. Got ")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.txt", "text")
    assert "Got" in refusal(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", a=np.array([Touch(tmp_path / "touched")], dtype=object))
    assert "a must be an array of numbers" in refusal(tmp_path / "a.npz")
    assert not (tmp_path / "touched").exists()


def test_an_npz_that_says_more_than_it_holds(tmp_path):
    """The shape of the header is that of an array of 4 TiB."""
    np.savez(tmp_path / "a.npz", a=np.zeros((2**8, 2**8), "uint8"))
    whole = (tmp_path / "a.npz").read_bytes()
    said, padding = b"(1048576, 1048576), }", b"(256, 256), }        "
    assert whole.count(padding) == 1
    (tmp_path / "a.npz").write_bytes(whole.replace(padding, said))
    assert refusal(tmp_path / "a.npz").endswith(
        "a must have 1099511627776 bytes for shape (1048576, 1048576) of uint8."
    )


class Touch:
    """What a pickle can do to whoever opens it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs the extra torch")


def torch_tensors(torch):
    return {
        name: torch.tensor(array.astype("float32")).to(getattr(torch, str(array.dtype)))
        for name, array in ARRAYS.items()
    }


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.slow
def test_pt_by_open_torch(tmp_path, torch, is_new):
    torch.save(torch_tensors(torch), tmp_path / "a.pt", _use_new_zipfile_serialization=is_new)
    assert_opens(tmp_path / "a.pt")


def test_a_bin_of_pytorch_in_a_folder_alone_and_in_shards(tmp_path, torch):
    tensors = torch_tensors(torch)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    assert_opens(tmp_path)
    assert_opens(tmp_path / "pytorch_model.bin")
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, tensor in tensors.items():
        torch.save({name: tensor}, folder / f"{name}.bin")
    weight_map = {name: f"{name}.bin" for name in tensors}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_opens(folder)
    # Safetensors come first.
    write_safetensors(tmp_path / "model.safetensors", {"other": ARRAYS["a.w"]})
    assert set(open_checkpoint(tmp_path)) == {"other"}


def test_pt_that_is_none_or_would_run_something(tmp_path, torch):
    start = "open_checkpoint: a .pt file must contain tensors by name, and no code. Got "
    torch.save({"a": Touch(tmp_path / "touched")}, tmp_path / "a.pt")
    unreadable = f"{start}'{tmp_path / 'a.pt'}', which is damaged or has something else."
    with pytest.raises(ValueError, match="a.pt") as caught:
        open_checkpoint(tmp_path / "a.pt")
    # PyTorch's advice is to load it with its code.
    assert str(caught.value) == unreadable and "weights_only" not in "".join(traceback.format_exception(caught.value))
    assert not (tmp_path / "touched").exists()
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    for content in (b"no checkpoint", b"", whole[: len(whole) // 2]):
        (tmp_path / "a.pt").write_bytes(content)
        assert refusal(tmp_path / "a.pt") == unreadable


def test_pt_of_something_else(tmp_path, torch):
    """A pickle may refer to one dictionary any number of times, also from inside it."""
    around, shared = {}, {}
    around["a"] = around
    for _ in range(20):
        shared = {"a": shared, "b": shared, "c": shared}
    for content, reason in (
        ({"a": {"b": 3}}, "where a.b is of type int, not a tensor or tensors by name"),
        ([torch.ones(1)], "where the file is of type list, not a tensor or tensors by name"),
        ({"a": {0: torch.ones(1)}}, "where a is of type dict, not a tensor or tensors by name"),
        ({"a": torch.ones(1).to(torch.complex64)}, "where a is not a dense tensor of bfloat16, bool, "),
        ({"a": torch.ones(1, 1).to_sparse()}, "where a is not a dense tensor of bfloat16, bool, "),
        ({"a": torch.ones(1, device="meta")}, "where a is not a dense tensor of bfloat16, bool, "),
        (around, "which has more than 32 levels."),
        (shared, "which has more than 1048576 entries."),
    ):
        torch.save(content, tmp_path / "a.pt")
        assert f"'{tmp_path / 'a.pt'}', {reason}" in refusal(tmp_path / "a.pt")


# PyTorch warns of some of them too.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pt_of_random_bytes(tmp_path, torch):
    """Whatever PyTorch's reader raises at them, and at a file of which a byte has changed."""
    generator, file, whole = np.random.default_rng(0), tmp_path / "wrong.pth", tmp_path / "whole.pt"
    torch.save({"a": torch.ones(3)}, whole, _use_new_zipfile_serialization=False)
    for number in range(200):
        if number % 2:
            file.write_bytes(generator.bytes(20))
        else:
            changed = bytearray(whole.read_bytes())
            changed[generator.integers(80)] = generator.integers(256)
            file.write_bytes(changed)
        with contextlib.suppress(ValueError):
            open_checkpoint(file)
    file.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"^open_checkpoint: a \.pth file must contain tensors by name, and no code\."):
        open_checkpoint(file)


@pytest.mark.parametrize(
    ("module", "path", "sentence"),
    [
        (
            "torch",
            "a.pt",
            r"open_checkpoint: PyTorch must be installed to read \.pt: pip install torch\. Got '.*a\.pt'\.",
        ),
        (
            "orbax.checkpoint",
            "orbax",
            r"an Orbax folder needs the package orbax-checkpoint: pip install '.*\[orbax\]'\.",
        ),
    ],
)
def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch, module, path, sentence):
    (tmp_path / "a.pt").write_bytes(b"")
    (tmp_path / "orbax").mkdir()
    (tmp_path / "orbax" / "_METADATA").write_text("{}")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "keras_griffin.conversion.torch_checkpoint", raising=False)
    with pytest.raises(ImportError, match=sentence):
        open_checkpoint(tmp_path / path)


def test_what_is_no_checkpoint(tmp_path):
    (tmp_path / "a.txt").write_text("")
    for path in (tmp_path, tmp_path / "a.txt"):
        assert not is_checkpoint(path)
        assert refusal(path).startswith("open_checkpoint: the path must be a folder with model.safetensors, ")
    assert not is_checkpoint(tmp_path / "nowhere.pt")
    assert refusal(tmp_path / "nowhere.pt", FileNotFoundError).endswith(
        "Got '" + str(tmp_path) + "/nowhere.pt', which does not exist."
    )
