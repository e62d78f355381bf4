import json

import pytest

from keras_griffin.tokenizers import ByteTokenizer

pytestmark = pytest.mark.any_backend


def test_the_ids_are_the_bytes():
    tokenizer = ByteTokenizer()
    assert tokenizer.encode("né€😀") == list("né€😀".encode())
    assert (tokenizer.vocabulary_size, tokenizer.start_id, tokenizer.stop_ids, tokenizer.pad_id) == (256, 10, (), 0)
    # Of a command line, too.
    data = bytes(range(256))
    assert tokenizer.encode(data.decode("utf-8", "surrogateescape")) == list(data)


@pytest.mark.parametrize("data", [b"\xff", b"a\xe2\x82b", b"\xf0\x9f\x98", b"\x80\x80", bytes(range(256))])
def test_bytes_that_are_not_utf8_are_replaced(data):
    assert ByteTokenizer().decode(list(data)) == data.decode("utf-8", "replace")


def test_its_file_has_a_name_of_its_own(tmp_path):
    ByteTokenizer().save(tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name == "byte_tokenizer.json" and json.loads(file.read_text()) == {"tokenizer": "bytes"}
