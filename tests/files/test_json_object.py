import pytest

from keras_griffin.files.json_object import read_json_object


def test_an_object_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"é": [1]}', "utf-8")
    assert read_json_object("load", tmp_path / "a.json") == {"é": [1]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", r"load: a\.json must be JSON\. Got '.*a\.json': .*\."),
        (b"\xff", r"load: a\.json must be JSON\. Got '.*a\.json': .*\."),
        (b"[" * 100_000, r"load: a\.json must be JSON\. Got '.*a\.json': .*\."),
        (b"[]", r"load: a\.json must be a JSON object\. Got '.*a\.json' with a list\."),
    ],
)
def test_what_is_no_object_is_refused(tmp_path, content, sentence):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        read_json_object("load", tmp_path / "a.json")
