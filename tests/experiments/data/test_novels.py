import struct
import zlib

import pytest

from experiments.data import novels
from experiments.data.novels import HEADER, lines
from experiments.data.novels import novels as read

pytestmark = pytest.mark.any_backend


def serialised(strings, kind=novels.STRINGS, header=HEADER):
    """A vector of strings as R's `serialize` writes it, None for a missing one."""
    start = header + struct.pack(">IIi5s", 0x40201, 0x30500, 5, b"UTF-8") + struct.pack(">Ii", kind, len(strings))
    return start + b"".join(
        struct.pack(">Ii", 0x40009, -1 if each is None else len(each)) + (each or b"") for each in strings
    )


@pytest.fixture
def database(tmp_path):
    """Two objects, each after its length."""
    path = tmp_path / "Rdata.rdb"
    texts = [[b"EMMA", b"", b"Emma Woodhouse, handsome,"], ["Café".encode()] * 1000]
    path.write_bytes(b"".join(struct.pack(">I", len(each)) + zlib.compress(each) for each in map(serialised, texts)))
    return path


def test_each_object_is_a_novel_of_lines(database):
    assert read(database) == [b"EMMA\n\nEmma Woodhouse, handsome,\n", 1000 * "Café\n".encode()]


def test_other_objects_are_refused():
    with pytest.raises(ValueError, match=r"^lines: an object must be a vector of strings .* version 3\. Got b'X"):
        lines(serialised([b"a"], kind=13))
    with pytest.raises(ValueError, match=r"must be a vector of strings .* Got b'A"):
        lines(serialised([b"a"], header=b"A\n\x00\x00\x00\x03"))
    with pytest.raises(ValueError, match=r"must be a vector of strings .* Got b''"):
        lines(b"")
    with pytest.raises(ValueError, match=r"^lines: string 1 must not be missing\. Got type 9, length -1\.$"):
        lines(serialised([b"a", None]))
