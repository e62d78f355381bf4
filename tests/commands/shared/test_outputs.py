import pytest

from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.commands.shared.outputs import check_new_file, check_new_folder, check_outside_text

pytestmark = pytest.mark.any_backend


def test_a_file_is_new_or_may_be_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "kept").write_text("mine")
    check_new_file("f", "new", overwrite=False)
    check_new_file("f", "kept", overwrite=True)
    for path, sentence in (
        ("", "a file in a folder that exists. Got ''."),
        ("folder", "a file in a folder that exists. Got 'folder'."),
        ("no/where", "a file in a folder that exists. Got 'no/where'."),
        ("kept", "a new file; --overwrite replaces it. Got 'kept', which exists."),
    ):
        with pytest.raises(CommandError) as caught:
            check_new_file("f", path, overwrite=False)
        assert str(caught.value) == f"f: --output must be {sentence}"


def test_a_folder_is_new_or_empty_or_may_be_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("empty", "full"):
        (tmp_path / path).mkdir()
    for name in "dcba":
        (tmp_path / "full" / name).write_text("mine")
    check_new_folder("f", "new", False, "TARGET")
    check_new_folder("f", "empty", False, "TARGET")
    check_new_folder("f", "full", True, "TARGET")
    with pytest.raises(CommandError) as caught:
        check_new_folder("f", "full", False, "TARGET")
    rule = "f: TARGET must be a new folder, or an empty one; --overwrite replaces an earlier result."
    assert str(caught.value) == f"{rule} Got 'full', which has a, b, c and more."


def test_a_folder_is_outside_the_text(tmp_path, monkeypatch):
    """By any path: through links and `..` too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text" / "deep").mkdir(parents=True)
    (tmp_path / "text" / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "text" / "deep")
    for folder, path in (("text2", "text"), ("text/run", "text/file"), ("link/../../run", "text")):
        check_outside_text("f", tmp_path / folder, [path], "it")
    for folder, path in (("text/deep/run", "text"), ("text", "text"), ("link/run", "text"), ("text/run", "link/..")):
        with pytest.raises(CommandError) as caught:
            check_outside_text("f", tmp_path / folder, ["text/file", path], "it")
        assert str(caught.value) == f"f: --output must be a folder outside the text. Got it, within {path!r}."
