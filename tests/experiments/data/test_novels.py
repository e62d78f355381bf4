import struct
import zlib

import pytest

from experiments.data import novels
from experiments.data.novels import HEADER, lines, load_novels

pytestmark = pytest.mark.any_backend


def serialised(strings, kind=novels.STRINGS, header=HEADER):
    """A vector of strings as R's `serialize` writes it, None for a missing one."""
    start = header + struct.pack(">IIi5s", 0x40201, 0x30500, 5, b"UTF-8") + struct.pack(">Ii", kind, len(strings))
    return start + b"".join(
        struct.pack(">Ii", 0x40009, -1 if each is None else len(each)) + (each or b"") for each in strings
    )


def packed(text):
    """As R's databases have it."""
    return struct.pack(">I", len(text)) + zlib.compress(text)


@pytest.fixture
def database(tmp_path):
    """Three objects, each after its length."""
    path = tmp_path / "Rdata.rdb"
    texts = [[b"EMMA", b"", b"Emma Woodhouse, handsome,"], [b"Persuasion", *["Café".encode()] * 1000], [b"THE END"]]
    path.write_bytes(b"".join(map(packed, map(serialised, texts))))
    return path


def test_each_object_is_a_novel_of_lines_and_one_is_held_out(database):
    text = load_novels(database)
    assert text.train.tobytes() == b"EMMA\n\nEmma Woodhouse, handsome,\nTHE END\n"
    assert text.validation.tobytes() == b"Persuasion\n" + 1000 * "Café\n".encode()
    assert (text.train_files, text.validation_files) == (("EMMA", "THE END"), ("Persuasion",))


def test_without_the_novel_to_hold_out_it_is_refused(tmp_path):
    path = tmp_path / "Rdata.rdb"
    path.write_bytes(packed(serialised([b"EMMA"])))
    with pytest.raises(ValueError, match=r"^load_novels: .*Rdata\.rdb must hold 'Persuasion'\. Got EMMA\.$"):
        load_novels(path)


def test_other_objects_are_refused():
    with pytest.raises(ValueError, match=r"^lines: an object must be a vector of strings .* version 3\. Got b'X"):
        lines(serialised([b"a"], kind=13))
    with pytest.raises(ValueError, match=r"must be a vector of strings .* Got b'A"):
        lines(serialised([b"a"], header=b"A\n\x00\x00\x00\x03"))
    with pytest.raises(ValueError, match=r"must be a vector of strings .* Got b''"):
        lines(b"")
    with pytest.raises(ValueError, match=r"^lines: string 1 must not be missing\. Got type 9, length -1\.$"):
        lines(serialised([b"a", None]))


@pytest.mark.parametrize("change", [lambda data: data[:-4], lambda data: data[:-40], lambda data: b"a text" + data])
def test_a_file_that_is_cut_off_or_something_else_is_refused(change, database):
    database.write_bytes(change(database.read_bytes()))
    with pytest.raises(ValueError, match=r"^objects: .*Rdata\.rdb must be a whole .* Got a broken object [13]\.$"):
        load_novels(database)
