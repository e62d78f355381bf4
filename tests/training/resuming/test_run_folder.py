import numpy as np
import pytest

from keras_griffin.training.resuming.run_folder import RunFolder


def filled(tmp_path, steps=(0, 10, 20), keep=2):
    folder = RunFolder(tmp_path / "a" / "run", keep)
    for step in steps:
        folder.write(step, {"x": np.full(3, step, "float32")}, {"step": step})
    return folder


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_newest_are_kept_and_the_newest_is_read(tmp_path):
    folder = filled(tmp_path)
    assert [path.name for path in folder.paths()] == ["step-000000020.safetensors", "step-000000010.safetensors"]
    facts, tensors = folder.read_newest()
    assert facts == {"step": 20} and tensors["x"].tolist() == [20.0] * 3


def test_an_empty_folder_holds_nothing(tmp_path):
    assert RunFolder(tmp_path / "none", 2).read_newest() is None


def test_a_damaged_newest_file_falls_back_to_the_one_before_and_says_so(tmp_path):
    folder = filled(tmp_path)
    newest = folder.paths()[0]
    damage(newest)
    with pytest.warns(UserWarning) as caught:
        facts, _ = folder.read_newest()
    assert facts == {"step": 10}
    sentence = str(caught[0].message)
    assert sentence.startswith(f"ResumableRun: {str(newest)!r} is damaged, so the run goes on from step-000000010.")
    assert len(caught) == 1 and "\n" not in sentence
    # Nor is it found again, or kept in place of a whole one.
    assert folder.read_newest().facts == {"step": 10}
    folder.write(15, {}, {"step": 15})
    assert [path.stem for path in folder.paths()] == ["step-000000015", "step-000000010"]


def test_where_all_are_damaged_it_is_said_in_a_sentence_and_nothing_is_touched(tmp_path):
    folder = filled(tmp_path)
    for path in folder.paths():
        damage(path)
    before = folder.paths()
    with pytest.raises(ValueError) as caught:
        folder.read_newest()
    assert str(caught.value) == (
        "ResumableRun: a run must have a file that is whole. Got step-000000020.safetensors and "
        f"step-000000010.safetensors in {str(folder.folder)!r}, damaged."
    )
    assert folder.paths() == before


def test_parts_of_files_are_removed_and_then_the_run(tmp_path):
    folder = filled(tmp_path)
    part = folder.folder / ".step-000000030.safetensors.partial-x"
    part.mkdir()
    (part / "step-000000030.safetensors").write_text("a part")
    assert folder.read_newest().facts == {"step": 20}
    folder.remove_parts()
    assert not part.exists()
    (folder.folder / "other").write_text("")
    folder.remove()
    assert [path.name for path in folder.folder.iterdir()] == ["other"]
    (folder.folder / "other").unlink()
    folder.remove()
    assert not folder.folder.exists()
    folder.remove()
