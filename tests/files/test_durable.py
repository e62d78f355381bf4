import os

import pytest

from keras_griffin.files import durable
from keras_griffin.files.durable import durable_file, remove_parts

pytestmark = pytest.mark.any_backend


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_block_ends(tmp_path, monkeypatch):
    events, paths = [], {}
    opened, replaced = os.open, os.replace

    def note_open(path, flags, **options):
        descriptor = opened(path, flags, **options)
        paths[descriptor] = os.path.basename(path)
        return descriptor

    monkeypatch.setattr(durable.os, "open", note_open)
    monkeypatch.setattr(durable.os, "fsync", lambda descriptor: events.append(f"sync {paths[descriptor]}"))
    monkeypatch.setattr(durable.os, "replace", lambda *pair: (events.append("rename"), replaced(*pair)))
    folder = tmp_path / "folder"
    folder.mkdir()
    with durable_file(folder / "file") as aside:
        aside.write_text("whole")
    assert events == ["sync file", "rename", "sync folder"]
    assert (folder / "file").read_text() == "whole"


def test_the_parts_of_one_file_are_removed(tmp_path):
    for name in (".a.partial-x", ".b.partial-y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("a part")
    remove_parts(tmp_path, "a")
    assert [path.name for path in tmp_path.iterdir()] == [".b.partial-y"]
    remove_parts(tmp_path / "none", "a")
