"""Safetensors files, written by this package and by the one that defines the format."""

import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_griffin.files.safetensors import DTYPES, InMemory, SafeTensors, StoredTensor, write_safetensors

pytestmark = pytest.mark.any_backend


def some_tensors():
    rng = np.random.default_rng(0)
    shapes = {"matrix": (3, 5), "scalar": (), "empty": (0, 4), "odd": (7,)}
    return {
        f"{dtype}.{name}": np.asarray(100 * rng.random(shape)).astype(dtype)
        for dtype in DTYPES.values()
        for name, shape in shapes.items()
    }


def assert_same(tensors, expected):
    assert set(tensors) == set(expected)
    for name, array in expected.items():
        assert tensors[name].dtype == array.dtype and tensors[name].shape == array.shape, name
        assert tensors[name].tobytes() == array.tobytes(), name


def test_what_is_written_is_read_here_and_by_the_package_that_defines_the_format(tmp_path):
    expected = some_tensors()
    write_safetensors(tmp_path / "ours", expected, {"format": "ünï"})
    safetensors.numpy.save_file(expected, tmp_path / "theirs", {"format": "ünï"})
    assert_same(safetensors.numpy.load_file(tmp_path / "ours"), expected)
    paths = [tmp_path / "ours", tmp_path / "theirs"]
    for tensors in [*map(SafeTensors, paths), *(InMemory(path.read_bytes()) for path in paths)]:
        assert_same(tensors, expected)
        assert tensors.metadata == {"format": "ünï"} and len(tensors) == len(expected)
        for name, array in expected.items():
            assert (tensors.shape(name), tensors.dtype(name)) == (array.shape, array.dtype)


def test_no_tensors_and_no_metadata(tmp_path):
    write_safetensors(tmp_path / "a", {})
    for tensors in (SafeTensors(tmp_path / "a"), InMemory((tmp_path / "a").read_bytes())):
        assert dict(tensors) == {} and tensors.metadata == {}


def test_bytes_that_are_no_file_are_refused(tmp_path):
    write_safetensors(tmp_path / "a", some_tensors())
    content = (tmp_path / "a").read_bytes()
    for bad in (b"", content[:7], content[:100], content[:-1], content + b"a"):
        with pytest.raises(ValueError, match="^InMemory: the bytes must be a valid safetensors file. Got "):
            InMemory(bad)


def test_arrays_in_any_order_of_memory(tmp_path):
    array = np.arange(24.0).reshape(4, 6)
    write_safetensors(tmp_path / "a", {"T": array.T, "reversed": array[::-1]})
    tensors = SafeTensors(tmp_path / "a")
    np.testing.assert_array_equal(tensors["T"], array.T)
    np.testing.assert_array_equal(tensors["reversed"], array[::-1])


def test_one_tensor_is_in_memory_at_a_time(tmp_path):
    alive, most = set(), 0

    class Counted(np.ndarray):
        def __del__(self):
            alive.discard(id(self))

    def read():
        nonlocal most
        array = np.zeros(5, "float32").view(Counted)
        alive.add(id(array))
        most = max(most, len(alive))
        return array

    stored = StoredTensor((5,), np.dtype("float32"), read)
    write_safetensors(tmp_path / "a", {str(i): stored for i in range(4)})
    assert most == 1 and len(SafeTensors(tmp_path / "a")) == 4


def test_a_stored_tensor_is_read_when_it_is_written(tmp_path):
    write_safetensors(tmp_path / "a", some_tensors())
    tensors = SafeTensors(tmp_path / "a")
    write_safetensors(tmp_path / "b", {name: tensors.stored(name) for name in tensors})
    assert_same(SafeTensors(tmp_path / "b"), some_tensors())


@pytest.mark.parametrize(
    ("tensors", "metadata", "sentence"),
    [
        ({"a": np.zeros(2, "complex64")}, None, r"a dtype among bool, .* Got 'a' of complex64\."),
        ({"a": np.zeros(2, ">f4")}, None, r"a dtype among .* Got 'a' of >f4\."),
        ({"__metadata__": np.zeros(2)}, None, r"a name other than __metadata__\. Got '__metadata__' of float64\."),
        ({"a": np.zeros(2)}, {"a": 1}, r"metadata must map strings to strings\. Got \{'a': 1\}\."),
        (
            {"a": StoredTensor((3,), np.dtype("int8"), lambda: np.zeros(2, "int8"))},
            None,
            r"'a' must be \(3,\) of int8, as declared\. Got \(2,\) of int8\.",
        ),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_old_file_stays(tmp_path, tensors, metadata, sentence):
    write_safetensors(tmp_path / "a", {"old": np.arange(3)})
    with pytest.raises(ValueError, match=rf"^write_safetensors: .*{sentence}$"):
        write_safetensors(tmp_path / "a", tensors, metadata)
    assert_same(SafeTensors(tmp_path / "a"), {"old": np.arange(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def file_of(path, header, data=b"", length=None):
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


TWO_FLOATS = b'{"a\\n":{"dtype":"%s","shape":[2],"data_offsets":[0,8]}}'


@pytest.mark.parametrize(
    ("header", "data", "length"),
    [
        (b"", b"", None),
        (b"{}", b"", 2**64 - 1),
        (b"{]", b"", None),
        (b"\xff{}", b"", None),
        (b"[" * 100_000, b"", None),
        (b'{"a\\n":[]}', b"", None),
        (TWO_FLOATS % b"F31", bytes(8), None),
        (TWO_FLOATS % b"F32", bytes(9), None),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path, header, data, length):
    path = file_of(tmp_path / "a.safetensors", header, data, length)
    sentence = r"^SafeTensors: the file must be a valid safetensors file\. Got '.*a\.safetensors': [^\n]+\.$"
    with pytest.raises(ValueError, match=sentence):
        SafeTensors(path)


def test_a_dtype_that_numpy_lacks_is_refused(tmp_path):
    path = file_of(tmp_path / "a", b'{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}', bytes(8))
    sentence = r"^SafeTensors: a dtype must be one of BOOL, .* Got F8_E4M3 of 'a' in '.*'\.$"
    with pytest.raises(ValueError, match=sentence):
        SafeTensors(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        SafeTensors(tmp_path)


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    write_safetensors(tmp_path / "a", {"a": np.arange(4.0), "b": np.zeros(3, ml_dtypes.bfloat16)}, {"x": "y"})
    whole = (tmp_path / "a").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "b").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="^SafeTensors: "):
            SafeTensors(tmp_path / "b")
