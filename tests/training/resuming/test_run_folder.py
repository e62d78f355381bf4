import errno
import resource

import numpy as np
import pytest

from keras_griffin.training.resuming.run_folder import RunFolder

pytestmark = pytest.mark.any_backend


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
    assert RunFolder(tmp_path / "none", 2).read_newest() is None
    folder = filled(tmp_path)
    assert [path.name for path in folder.paths()] == ["step-000000020.safetensors", "step-000000010.safetensors"]
    facts, tensors = folder.read_newest()
    assert facts == {"step": 20} and tensors["x"].tolist() == [20.0] * 3


def test_a_damaged_newest_file_falls_back_to_the_one_before_and_says_so(tmp_path, held_files_stay):
    folder = filled(tmp_path)
    newest = folder.paths()[0]
    damage(newest)
    with pytest.warns(UserWarning) as caught:
        facts, _ = folder.read_newest()
    assert facts == {"step": 10}
    sentence = str(caught[0].message)
    assert sentence.startswith(f"ResumableRun: {str(newest)!r} is damaged, so the run resumes from step-000000010.")
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
        "ResumableRun: a run must have an intact file. Got step-000000020.safetensors and "
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


def test_one_process_has_the_folder(tmp_path):
    folder = filled(tmp_path)
    with folder.lock():
        for act in (RunFolder(folder.folder, 2).lock().__enter__, RunFolder(folder.folder, 2).remove):
            with pytest.raises(ValueError, match="only one process at a time may use a folder"):
                act()
    assert len(list(folder.folder.iterdir())) == len(folder.paths()) == 2
    with RunFolder(tmp_path / "none", 2).lock():
        pass
    assert not (tmp_path / "none").exists()


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match="ResumableRun: the folder must exist, or it must be possible to create it. Got File exists: '"
    ):
        RunFolder(tmp_path / "file", 2).write(0, {}, {})


def test_on_a_full_disk_the_earlier_files_remain_and_it_is_said(tmp_path):
    folder = filled(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.folder.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Which fails in the middle of a file, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(OSError, match=r"^\[Errno \d+\] ResumableRun: step 30 must be saved. Got ") as caught:
            folder.write(30, {"x": np.zeros(10_000)}, {"step": 30})
        with pytest.raises(OSError, match="; nothing of the run is saved: '"):
            RunFolder(tmp_path / "other", 2).write(0, {"x": np.zeros(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.errno == errno.EFBIG
    assert str(caught.value).endswith(f"the run can resume from step-000000020.safetensors: {str(folder.folder)!r}")
    assert {path.name: path.read_bytes() for path in folder.folder.iterdir()} == before
    folder.write(30, {"x": np.zeros(10_000)}, {"step": 30})
    assert folder.read_newest().facts == {"step": 30}
